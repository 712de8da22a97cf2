"""The options that say which registry is called, and how: before or after a command."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import click
from click.core import ParameterSource

DEFAULT_URL: Final = "http://127.0.0.1:5000"

CONNECTION: Final[Mapping[str, tuple[str, str]]] = {
    "--url": (
        "URL",
        f"URL, or several with commas. [REGISTRY_URL; default: {DEFAULT_URL}]",
    ),
    "--token": (
        "TOKEN",
        "Your token; other users of this machine can see it. [REGISTRY_TOKEN]",
    ),
    "--token-file": (
        "FILE",
        "File with the token, instead of --token. [REGISTRY_TOKEN_FILE]",
    ),
    "--namespace": (
        "NAME",
        "Namespace to work in, instead of the default one. [REGISTRY_NAMESPACE]",
    ),
    "--ca-file": (
        "FILE",
        "CA (PEM) of the registry's certificate, instead of the system's CAs."
        " [REGISTRY_CA_FILE]",
    ),
    "--client-cert": (
        "FILE",
        "Client certificate (PEM), for a registry that needs one."
        " [REGISTRY_CLIENT_CERT]",
    ),
    "--client-key": (
        "FILE",
        "Key of the client certificate, if in another file. [REGISTRY_CLIENT_KEY]",
    ),
}
"""By flag: what stands for its value, and its help."""


class _AfterCommand(click.Option):
    """An option whose value may be given before the command; after it, it wins."""

    def consume_value(
        self, ctx: click.Context, opts: Mapping[str, Any]
    ) -> tuple[Any, ParameterSource]:
        value, source = super().consume_value(ctx, opts)
        before = ctx.find_root().params.get(self.name or "")
        if before is None or source is ParameterSource.COMMANDLINE:
            return value, source
        return before, ParameterSource.COMMANDLINE


def connection_option(flag: str, **settings: Any) -> Callable[..., Any]:
    """Return what adds one of `CONNECTION` to a command."""
    metavar, text = CONNECTION[flag]
    return click.option(flag, cls=_AfterCommand, metavar=metavar, help=text, **settings)


def before_command(group: Callable[..., Any]) -> Callable[..., Any]:
    """Add `CONNECTION` to the program itself: its commands take the values."""
    for flag, (metavar, text) in reversed(list(CONNECTION.items())):
        group = click.option(flag, metavar=metavar, help=text)(group)
    return group


def refuse_unused(command: click.Command, given: Mapping[str, str | None]) -> None:
    """Raise `click.UsageError` for an option before a command that does not take it."""
    for name, value in given.items():
        if value is not None and not _takes(command, name):
            flag = f"--{name.replace('_', '-')}"
            raise click.UsageError(f"{command.name} does not take {flag}.")


def _takes(command: click.Command, name: str) -> bool:
    if isinstance(command, click.Group):
        return any(_takes(each, name) for each in command.commands.values())
    # An option of the same name may be another, as the namespaces that serve has.
    return any(
        parameter.name == name and isinstance(parameter, _AfterCommand)
        for parameter in command.params
    )
