"""Shell completion: the script for a shell, and ids and capabilities as words.

If anything fails, there are no words: a prompt must neither hang nor show errors.
"""

import os
import time
from collections.abc import Callable, Iterator
from typing import Final

import click
from click.shell_completion import get_completion_class

from modularity_client import Registry, Service
from modularity_registry.cli.exit import PROGRAM
from modularity_registry.cli.options.connection import DEFAULT_URL

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
            for service in _services(context)
            for word in words(service)
            if word.startswith(incomplete)
        }
    except Exception:  # a shell's prompt is no place for errors
        return set()


def namespaces(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> Words:
    """Return the namespaces that begin with ``incomplete``."""
    try:
        with _registry(context) as registry:
            names = [namespace.name for namespace in registry.namespaces()]
    except Exception:  # as above
        return []
    return [name for name in names if name.startswith(incomplete)]


def _registry(context: click.Context) -> Registry:
    """Return the registry of the line so far."""
    # Imported late: it takes its words from here.
    from modularity_registry.cli.options.namespace import current_namespace

    params = context.params
    url = params.get("url") or os.environ.get("REGISTRY_URL") or DEFAULT_URL
    return Registry(
        url,
        params.get("token"),
        token_file=params.get("token_file"),
        timeout=PATIENCE,
        namespace=current_namespace(context),
    )


def _services(context: click.Context) -> Iterator["Service"]:
    """Yield the services that arrive in time."""
    until = time.monotonic() + PATIENCE
    with _registry(context) as registry:
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
