"""Shell completion: the script for a shell, and ids and capabilities as words.

If anything fails, there are no words: a prompt must neither hang nor show errors.
"""

import os
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import click
from click.shell_completion import get_completion_class

from modularity_client import Registry, Service
from modularity_registry.cli.connection_options import DEFAULT_URL
from modularity_registry.cli.exit import PROGRAM

PATIENCE: Final = 1.0
"""Seconds that completion may take."""

PAGE: Final = 1_000

VARIABLE: Final = "_MODULARITY_REGISTRY_COMPLETE"
"""The variable that the shell sets to get words; click chose the name."""

Words = list[str]


def ids(context: click.Context, parameter: click.Parameter, incomplete: str) -> Words:
    """Return the ids that begin with ``incomplete``, but for those given already."""
    value = context.params.get(parameter.name or "") or ()
    given = {value} if isinstance(value, str) else set(value)
    return sorted(_matching(context, incomplete, lambda service: [service.id]) - given)


def capabilities(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> Words:
    """Return the capabilities that begin with ``incomplete``."""
    return sorted(
        _matching(context, incomplete, lambda service: list(service.capabilities))
    )


def _matching(
    context: click.Context, incomplete: str, words: Callable[["Service"], Words]
) -> set[str]:
    try:
        return {
            word
            for service in _services(context.params)
            for word in words(service)
            if word.startswith(incomplete)
        }
    except Exception:  # a shell's prompt is no place for errors
        return set()


def _services(params: dict[str, Any]) -> Iterator["Service"]:
    """Yield the services that arrive in time."""
    url = params.get("url") or os.environ.get("REGISTRY_URL") or DEFAULT_URL
    token, token_file = params.get("token"), params.get("token_file")
    until = time.monotonic() + PATIENCE
    with Registry(url, token, token_file=token_file, timeout=PATIENCE) as registry:
        for service in registry.iter_services(limit=PAGE):
            if time.monotonic() > until:
                return
            yield service


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script for SHELL.

    It completes commands, options, ids and capabilities.

    \b
    bash:  eval "$(modularity-registry completion bash)"   in ~/.bashrc
    zsh:   eval "$(modularity-registry completion zsh)"    in ~/.zshrc
    fish:  modularity-registry completion fish | source    in config.fish
    """
    completer = get_completion_class(shell)
    assert completer is not None, f"click supports {shell}"
    root = context.find_root().command
    click.echo(completer(root, {}, PROGRAM, VARIABLE).source())
