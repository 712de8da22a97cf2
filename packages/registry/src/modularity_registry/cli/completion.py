"""Shell completion: the script for a shell, and what the registry knows as words.

Completion must neither wait nor complain: whatever goes wrong, there are no words.
"""

import os
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import click
from click.shell_completion import get_completion_class

from modularity_client import Registry, Service
from modularity_registry.cli.exit import PROGRAM
from modularity_registry.cli.session import DEFAULT_URL

PATIENCE: Final = 1.0
"""Seconds that somebody who pressed Tab may wait."""

PAGE: Final = 1_000

VARIABLE: Final = "_MODULARITY_REGISTRY_COMPLETE"
"""What the shell sets when it asks for words: click's name for it."""

Words = list[str]


def ids(context: click.Context, parameter: click.Parameter, incomplete: str) -> Words:
    """Return the ids that begin so, but for those that are on the line already."""
    given = context.params.get(parameter.name or "") or ()
    given = {given} if isinstance(given, str) else set(given)
    return sorted(_begun(context, incomplete, lambda each: [each.id]) - given)


def capabilities(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> Words:
    """Return the capabilities that begin so."""
    return sorted(_begun(context, incomplete, lambda each: list(each.capabilities)))


def _begun(
    context: click.Context, incomplete: str, words: Callable[["Service"], Words]
) -> set[str]:
    try:
        return {
            word
            for service in _services(context.params)
            for word in words(service)
            if word.startswith(incomplete)
        }
    except Exception:  # whatever it is, a shell's prompt is no place for it
        return set()


def _services(params: dict[str, Any]) -> Iterator["Service"]:
    """Yield the services, as many as come in time."""
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
    """Print the script that lets SHELL complete commands, ids and capabilities.

    \b
    bash:  eval "$(modularity-registry completion bash)"   in ~/.bashrc
    zsh:   eval "$(modularity-registry completion zsh)"    in ~/.zshrc
    fish:  modularity-registry completion fish | source    in config.fish
    """
    made = get_completion_class(shell)
    assert made is not None, f"click knows {shell}"
    root = context.find_root().command
    click.echo(made(root, {}, PROGRAM, VARIABLE).source())
