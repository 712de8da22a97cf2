"""The command line: reads flags and settings, serves, moves catalogs."""

import os
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any, Final, NoReturn, cast

import click

from modularity_registry import __version__, config
from modularity_registry.errors import RegistryError
from modularity_registry.telemetry import logs

FAILED = 1


# Where the other commands are: a module in this package, and a name in it.
COMMANDS: Final = {
    "audit": "audit:audit",
    "completion": "completion:completion",
    "discover": "lookup:discover",
    "doctor": "doctor.command:doctor",
    "drain": "registration:drain",
    "explain": "lookup:explain",
    "find": "lookup:find",
    "graph": "overview:graph",
    "info": "lookup:info",
    "ls": "lookup:list_services",
    "register": "registration:register",
    "stats": "overview:stats",
    "token": "tokens:token",
    "undrain": "registration:undrain",
    "unregister": "registration:unregister",
    "watch": "watch.command:watch",
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are named.

    As click's documentation has it ("Lazily Loading Subcommands").
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *COMMANDS})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        target = COMMANDS.get(cmd_name)
        if target is None:
            return super().get_command(ctx, cmd_name)
        module, _, name = target.partition(":")
        found = getattr(import_module(f"modularity_registry.cli.{module}"), name)
        return cast(click.Command, found)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="modularity-registry")
def main() -> None:
    """Modularity Registry: find a healthy provider of what you need."""


def _flags(command: Callable[..., Any]) -> Callable[..., Any]:
    defaults = config.Settings()
    for option in reversed(config.OPTIONS):
        default = getattr(defaults, option.field)
        several = isinstance(default, tuple | frozenset)
        shown = ",".join(default) or config.OFF if several else default
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
        _fail(error)
    sys.exit(code)


_store_flag = click.option(
    "--store",
    metavar="URL",
    help="The store, as for serve, but not memory://. [REGISTRY_STORE]",
)


@main.command("export")
@_store_flag
@click.option(
    "--output",
    metavar="FILE",
    default="-",
    help="Where to write, whole or not at all; - is standard output, the default.",
)
def export_command(store: str | None, output: str) -> None:
    """Write all services of a store as JSON lines, to move or to keep them."""
    # Imported late, here and below: --help needs none of it.
    from modularity_registry import transfer

    try:
        url = transfer.store_url(store, os.environ)
        click.echo(transfer.export_services(url, output), err=True)
    except RegistryError as error:
        _fail(error)


@main.command("import")
@_store_flag
@click.option(
    "--input",
    "source",
    metavar="FILE",
    default="-",
    help="What export has written; - is standard input, the default.",
)
@click.option("--dry-run", is_flag=True, help="Check and count, and write nothing.")
@click.option("--prune", is_flag=True, help="Delete services that are not in FILE.")
def import_command(store: str | None, source: str, dry_run: bool, prune: bool) -> None:
    """Write the services of an export into a store; again, and nothing changes.

    All lines are checked before the first is written.
    """
    from modularity_registry import transfer

    try:
        url = transfer.store_url(store, os.environ)
        outcome = transfer.import_services(url, source, dry_run, prune)
    except RegistryError as error:
        _fail(error)
    click.echo(outcome.summary, err=True)
    sys.exit(FAILED if outcome.overtaken else 0)


def _fail(error: RegistryError) -> NoReturn:
    click.echo(f"modularity-registry: {error.detail}", err=True)
    sys.exit(FAILED)


def _serve(settings: config.Settings) -> int:
    # Imported late: --help and a bad setting need none of it.
    from modularity_registry.serve import factory, server_options
    from modularity_registry.serving.supervisor import serve as serve_http

    logs.configure(settings.log_format, settings.level)
    return serve_http(
        factory(settings), settings.host, settings.port, server_options(settings)
    )
