"""The command demo: runs a shop at a registry until it is told to end."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import aiohttp
import click

from modularity_client import AsyncRegistry
from modularity_client.errors import AddressRefused, RevisionMismatch
from modularity_registry import tasks
from modularity_registry.cli.demo.caller import Caller
from modularity_registry.cli.demo.membership import TTL, Members
from modularity_registry.cli.demo.service import ShopService
from modularity_registry.cli.demo.shop import (
    ENTRANCE,
    FAILING,
    FEWEST,
    MOST,
    PERIOD,
    REASON,
    plan,
)
from modularity_registry.cli.exit import PROGRAM, fail
from modularity_registry.cli.output import count, plain, show, table
from modularity_registry.cli.session import explained, opened, url_option
from modularity_registry.serving.process import on_signal

VISITS: Final = 4
"""Visitors a second, at most: each makes about nine calls, one after the other."""

CALL_SECONDS: Final = 5.0
"""Seconds that a call between two services may take."""

MAX_PORT: Final = 65_535


@click.command()
@click.option(
    "--services",
    "number",
    type=click.IntRange(FEWEST, MOST),
    default=12,
    show_default=True,
    help="How many services to start.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    help="End after this long. Default: at Ctrl-C.",
)
@click.option(
    "--port-from",
    type=click.IntRange(1, MAX_PORT - MOST),
    help="Port of the first service; the others follow. Default: free ports.",
)
@url_option
def demo(
    url: str,
    token: str | None,
    token_file: str | None,
    number: int,
    seconds: float | None,
    port_from: int | None,
) -> None:
    """Run a small shop of services, to look around.

    They run in this process, on 127.0.0.1, and call each other. One of them fails from
    time to time. At the end, all are unregistered.
    """
    registry = opened(AsyncRegistry, url, token, token_file)
    with explained():
        try:
            left = asyncio.run(_run(registry, number, seconds, port_from))
        except RevisionMismatch as error:
            fail(
                f"a demo is registered there already ({error.detail}): stop it, or wait"
                f" {TTL * 10:.0f} s if it was killed"
            )
        except AddressRefused as error:
            fail(
                f"{error.detail}; the demo's services listen on 127.0.0.1 of this"
                f" machine: run {PROGRAM} demo where the registry runs"
            )
        except OSError as error:
            fail(f"can't start the services: {error.strerror}")
    if left:
        fail(
            f"could not unregister {count(left, 'service')}; the registry removes them"
            f" within {TTL * 10:.0f} s"
        )
    click.echo(f"Unregistered {count(number, 'service')}.")


async def _run(
    registry: AsyncRegistry, number: int, seconds: float | None, port_from: int | None
) -> int:
    """Run the shop; return how many services could not be unregistered."""
    stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        on_signal(name, stop.set)
    timeout = aiohttp.ClientTimeout(total=CALL_SECONDS)
    async with registry, aiohttp.ClientSession(timeout=timeout) as http:
        caller = Caller(registry, http)
        services = [ShopService(planned, caller) for planned in plan(number)]
        members = Members(registry, services)
        try:
            for position, service in enumerate(services):
                await service.start(port_from + position if port_from else 0)
            await members.register()
            _introduce(registry, services)
            await _until(
                stop,
                seconds,
                _every(TTL / 3, members.renew),
                _every(1, caller.send_reports),
                _every(1 / VISITS, lambda: caller.call(ENTRANCE)),
            )
        finally:
            left = await members.unregister()
            await asyncio.gather(*(service.stop() for service in services))
    return left


async def _every(seconds: float, act: Callable[[], Awaitable[None]]) -> None:
    while True:
        await act()
        await asyncio.sleep(seconds)


async def _until(
    stop: asyncio.Event, seconds: float | None, *work: Awaitable[None]
) -> None:
    """Work until ``stop`` or for ``seconds``; raises what ends the work before."""
    ended = asyncio.ensure_future(stop.wait())
    working = [asyncio.ensure_future(each) for each in work]
    try:
        await asyncio.wait(
            [ended, *working], timeout=seconds, return_when=asyncio.FIRST_COMPLETED
        )
        for task in working:
            if task.done():
                task.result()
    finally:
        ended.cancel()
        await tasks.cancel(*working)


def _introduce(registry: AsyncRegistry, services: Sequence[ShopService]) -> None:
    """Print what runs, and where to look at it."""
    url, namespace = registry.settings.urls[0], registry.settings.namespace
    page = f"{url}/?namespace={namespace}" if namespace else f"{url}/"
    click.echo(f"{count(len(services), 'service')} of a shop are at {plain(url)}:\n")
    rows = [
        (each.planned.id, each.location, each.planned.role.capability)
        for each in services
    ]
    show(table(("ID", "LOCATION", "PROVIDES"), rows))
    (flapping,) = (each.planned for each in services if each.planned.flaps)
    click.echo(
        f"\n{flapping.id} fails for {FAILING:.0f} s of every {PERIOD:.0f} s:"
        f" {REASON}.\n\n"
        f"Dashboard:  {plain(page)}\n"
        f"Graph:      {plain(page)}#/graph\n"
        f"Live:       {PROGRAM} watch\n"
        f"Why:        {PROGRAM} explain {flapping.role.capability}\n\n"
        "Press Ctrl-C to stop and unregister them."
    )
