"""The commands export and import: from a store to a file and back."""

import os
import sys
from collections.abc import Callable
from typing import Any

import click

from modularity_client import AsyncRegistry
from modularity_registry import transfer
from modularity_registry.cli.exit import FAILED, fail
from modularity_registry.cli.mirror.options import source_options
from modularity_registry.cli.options.namespace import (
    current_namespace,
    is_namespace_given,
    namespace_option,
)
from modularity_registry.cli.session import opened, url_option
from modularity_registry.errors import RegistryError

store_option = click.option(
    "--store",
    metavar="URL",
    help="Store to use, as for serve; memory:// does not work here. [REGISTRY_STORE]",
)


def _scope_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options for the namespaces to a command; see `_scope`."""
    return namespace_option(_all_namespaces_option(command))


_all_namespaces_option = click.option(
    "--all-namespaces",
    is_flag=True,
    help="All namespaces of the store, each service with its own.",
)


def _scope(all_namespaces: bool) -> transfer.Scope:
    if not all_namespaces:
        return current_namespace()
    if is_namespace_given():
        raise click.UsageError(
            "--namespace and --all-namespaces can't be used together."
        )
    return None


@click.command("export")
@store_option
@_scope_options
@click.option(
    "--output",
    metavar="FILE",
    default="-",
    help="File to write; - is standard output, the default.",
)
def export_command(store: str | None, output: str, all_namespaces: bool) -> None:
    """Write the services, splits and intentions of a store to a file.

    The file has one line of JSON for each. If the export fails, the old file
    stays as it is.
    """
    scope = _scope(all_namespaces)
    try:
        url = transfer.store_url(store, os.environ)
        click.echo(transfer.export_services(url, output, scope=scope), err=True)
    except RegistryError as error:
        fail(error.detail)


@click.command("import")
@source_options(required=False)
@store_option
@_all_namespaces_option
@url_option
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
    "--prune", is_flag=True, help="Delete what the store has and FILE does not."
)
def import_command(
    store: str | None,
    source: str,
    dry_run: bool,
    prune: bool,
    all_namespaces: bool,
    url: str,
    token: str | None,
    token_file: str | None,
    **given: Any,
) -> None:
    """Write the services, splits and intentions of a file to a store.

    All lines are checked before the first one is written. What is equal already is
    skipped, so that you can run it again.

    With --from, write the services of a Consul or Eureka to the registry at --url
    instead.
    """
    if given["address"] is not None:
        from modularity_registry.cli.mirror.command import import_once

        if store is not None or source != "-" or all_namespaces:
            raise click.UsageError(
                "--from writes to a running registry: it can't be used with --store,"
                " --input or --all-namespaces."
            )
        registry = opened(AsyncRegistry, url, token, token_file)
        import_once(**given, registry=registry, prune=prune, dry_run=dry_run)
        return
    scope = _scope(all_namespaces)
    try:
        url = transfer.store_url(store, os.environ)
        outcome = transfer.import_services(url, source, dry_run, prune, scope)
    except RegistryError as error:
        fail(error.detail)
    click.echo(outcome.summary, err=True)
    sys.exit(FAILED if outcome.overtaken else 0)
