"""The command mirror, and what import does with a source."""

import asyncio
import logging
import signal
import ssl
import sys
from contextlib import suppress

import click

from modularity_client import AsyncRegistry
from modularity_registry.cli.exit import FAILED, fail
from modularity_registry.cli.mirror.copy import copy
from modularity_registry.cli.mirror.follow import Mirror
from modularity_registry.cli.mirror.options import (
    address_of,
    source_of,
    source_options,
    token_of,
    trust_of,
)
from modularity_registry.cli.mirror.source import Address, SourceAway
from modularity_registry.cli.session import explained, opened, url_option
from modularity_registry.telemetry import logs


@click.command()
@source_options(required=True)
@click.option(
    "--ttl",
    type=click.FloatRange(3, 3600),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="Lease of the mirrored services: without the mirror, they are unhealthy after"
    " this time.",
)
@click.option(
    "--force", is_flag=True, help="Remove services even if most are gone at once."
)
@url_option
def mirror(
    address: str,
    only: tuple[str, ...],
    from_token_file: str | None,
    from_ca_file: str | None,
    ttl: float,
    force: bool,
    url: str,
    token: str | None,
    token_file: str | None,
) -> None:
    """Keep the services of a Consul or Eureka here as they are there.

    Runs until Ctrl-C or SIGTERM. Services that are registered here by themselves
    are left alone.
    """
    place = address_of(address)
    secret, tls = token_of(from_token_file), trust_of(from_ca_file)
    registry = opened(AsyncRegistry, url, token, token_file)
    logs.configure("human", "info")
    # Each call would be a line.
    logging.getLogger("httpx").setLevel(logging.WARNING)

    async def run() -> None:
        task = asyncio.current_task()
        assert task is not None
        with suppress(NotImplementedError):  # where there are no such signals
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGTERM, task.cancel)
        async with registry, source_of(place, only, secret, tls) as source:
            mirror = Mirror(registry, source, place.name, only, ttl, force)
            await mirror.run()

    with suppress(KeyboardInterrupt, asyncio.CancelledError):
        asyncio.run(run())


def import_once(
    address: str,
    only: tuple[str, ...],
    from_token_file: str | None,
    from_ca_file: str | None,
    registry: AsyncRegistry,
    prune: bool,
    dry_run: bool,
) -> None:
    """Copy the services of a source; ends the program with 1 if some were refused."""
    place = address_of(address)
    secret, tls = token_of(from_token_file), trust_of(from_ca_file)
    with explained():
        try:
            outcome = _copied(place, only, secret, tls, registry, prune, dry_run)
            summary, refused = asyncio.run(outcome)
        except SourceAway as error:
            fail(f"{place.name} does not answer: {error}; nothing was imported")
    click.echo(summary, err=True)
    sys.exit(FAILED if refused else 0)


async def _copied(
    place: Address,
    only: tuple[str, ...],
    secret: str | None,
    tls: ssl.SSLContext,
    registry: AsyncRegistry,
    prune: bool,
    dry_run: bool,
) -> tuple[str, int]:
    async with registry, source_of(place, only, secret, tls) as source:
        return await copy(registry, source, place.name, only, prune, dry_run)
