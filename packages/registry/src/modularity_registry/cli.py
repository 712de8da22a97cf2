"""The command line: reads flags, loads settings, serves."""

import logging
import os
import sys
from collections.abc import Callable
from typing import Any

import click

from modularity_registry import __version__, config
from modularity_registry.errors import RegistryError

FAILED = 1


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="modularity-registry")
def main() -> None:
    """Modularity Registry: find a healthy provider of what you need."""


def _flags(command: Callable[..., Any]) -> Callable[..., Any]:
    defaults = config.Settings()
    for option in reversed(config.OPTIONS):
        default = getattr(defaults, option.field)
        shown = ",".join(default) if isinstance(default, tuple) else default
        text = f"{option.help} [{option.env}; default: {shown}]"
        if isinstance(default, bool):
            flag = click.option(option.flag, is_flag=True, default=None, help=text)
        else:
            flag = click.option(option.flag, metavar="VALUE", help=text)
        command = flag(command)
    return command


@main.command()
@_flags
def serve(**flags: Any) -> None:
    """Run the registry until it is told to stop (Ctrl-C or SIGTERM)."""
    given = {name: "true" if value is True else value for name, value in flags.items()}
    try:
        code = _serve(config.load(given, os.environ))
    except RegistryError as error:
        click.echo(f"modularity-registry: {error.detail}", err=True)
        code = FAILED
    sys.exit(code)


def _serve(settings: config.Settings) -> int:
    # Imported late: --help and a bad setting need none of it.
    from modularity_registry.web.app import factory, server_options
    from modularity_registry.web.server import serve as serve_http

    logging.basicConfig(
        level=logging.DEBUG if settings.debug else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    return serve_http(
        factory(settings), settings.host, settings.port, server_options(settings)
    )
