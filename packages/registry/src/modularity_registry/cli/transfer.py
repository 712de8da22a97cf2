"""The commands export and import: services and splits from store to file and back."""

import os
import sys

import click

from modularity_registry import transfer
from modularity_registry.cli.exit import FAILED, fail
from modularity_registry.errors import RegistryError

store_option = click.option(
    "--store",
    metavar="URL",
    help="Store to use, as for serve; memory:// does not work here. [REGISTRY_STORE]",
)


@click.command("export")
@store_option
@click.option(
    "--output",
    metavar="FILE",
    default="-",
    help="File to write; - is standard output, the default.",
)
def export_command(store: str | None, output: str) -> None:
    """Write the services and splits of a store to a file.

    The file has one line of JSON for each. If the export fails, the old file
    stays as it is.
    """
    try:
        url = transfer.store_url(store, os.environ)
        click.echo(transfer.export_services(url, output), err=True)
    except RegistryError as error:
        fail(error.detail)


@click.command("import")
@store_option
@click.option(
    "--input",
    "source",
    metavar="FILE",
    default="-",
    help="File that export wrote, or registry.json of the original registry;"
    " - is standard input, the default.",
)
@click.option("--dry-run", is_flag=True, help="Check and count, but write nothing.")
@click.option(
    "--prune", is_flag=True, help="Delete services and splits that are not in FILE."
)
def import_command(store: str | None, source: str, dry_run: bool, prune: bool) -> None:
    """Write the services and splits of a file to a store.

    All lines are checked before the first one is written. What is equal already is
    skipped, so that you can run it again.
    """
    try:
        url = transfer.store_url(store, os.environ)
        outcome = transfer.import_services(url, source, dry_run, prune)
    except RegistryError as error:
        fail(error.detail)
    click.echo(outcome.summary, err=True)
    sys.exit(FAILED if outcome.overtaken else 0)
