"""The commands on a store itself."""

import os

import click

from modularity_registry import transfer
from modularity_registry.cli.exit import fail
from modularity_registry.cli.group import Group
from modularity_registry.cli.transfer import store_option
from modularity_registry.errors import RegistryError


@click.group(cls=Group)
def store() -> None:
    """Look after a store: begin a new epoch in it."""


@store.command("new-epoch")
@store_option
def new_epoch(store: str | None) -> None:
    """Begin a new epoch, after you have restored a backup.

    All records stay. Watchers, whose positions may name writes that the backup does
    not hold, read everything again. It is safe while registries run.
    """
    try:
        epoch = transfer.begin_epoch(transfer.store_url(store, os.environ))
    except RegistryError as error:
        fail(error.detail)
    click.echo(f"began epoch {epoch}")
