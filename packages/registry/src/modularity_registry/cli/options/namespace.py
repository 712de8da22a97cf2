"""The option for the namespace that a command works in."""

from collections.abc import Callable
from typing import Any, Final

import click

from modularity_client.namespaces import NAMESPACE, find_namespace
from modularity_registry.cli import completion
from modularity_registry.cli.options.connection import connection_option

_META_KEY: Final = "modularity_registry.namespace"


def namespace_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--namespace`` to a command.

    It is no argument of the command: `current_namespace` reads it.
    """
    add = connection_option(
        "--namespace",
        expose_value=False,
        callback=_keep,
        shell_complete=completion.namespaces,
    )
    decorated: Callable[..., Any] = add(command)
    return decorated


def _keep(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> None:
    context.meta[_META_KEY] = value


def current_namespace(context: click.Context | None = None) -> str:
    """Return the namespace of a command's option, else of the environment.

    The command is the current one, if no other is given. The namespace is empty for
    the default one. Raises `click.BadParameter` (code 2) for what is no name.
    """
    context = context or click.get_current_context(silent=True)
    given = None if context is None else context.meta.get(_META_KEY)
    try:
        return find_namespace(given)
    except ValueError as error:
        hint = NAMESPACE if given is None else "--namespace"
        raise click.BadParameter(str(error), param_hint=hint) from None


def is_namespace_given() -> bool:
    """Return whether the current command has the option."""
    return click.get_current_context().meta.get(_META_KEY) is not None
