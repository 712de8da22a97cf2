"""Keeps a snapshot of the registry current, by its stream of events."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Final

import click
import httpx

from modularity_client import Event, RegistryError, calls
from modularity_client.events.session import CHANGES, Session
from modularity_client.events.stream import afollow
from modularity_client.http.transport import AsyncDriver, Settings
from modularity_registry.cli.exit import PROGRAM
from modularity_registry.cli.output import plain
from modularity_registry.cli.proxies.snapshot import Snapshot

PAUSE: Final = 1.0
"""Seconds until a list is read again, or a stream opened, that was refused."""

TRIES: Final = 5
"""How often a list older than the stream is read: behind one address, another replica
may send it."""


def say(message: str) -> None:
    """Print a line on standard error."""
    click.echo(f"{PROGRAM}: {plain(' '.join(message.split()))}", err=True)


class Follower:
    """Follows the registry, all of it or some ``capabilities``.

    ``changed`` is set after each change of the ``snapshot``. While the registry is
    away, that stays as it was. What is wrong is said once, on standard error.
    """

    def __init__(self, settings: Settings, capabilities: Sequence[str] = ()) -> None:
        self.snapshot: Snapshot | None = None
        self.changed = asyncio.Event()
        self._settings = settings
        self._capabilities = sorted(set(capabilities))
        self._session = Session(settings, self._capabilities, types=CHANGES)
        self._fault = ""

    async def run(self) -> None:
        """Follow until cancelled."""
        async with httpx.AsyncClient(**self._settings.options()) as client:
            while True:
                try:
                    async with aclosing(afollow(self._session, client)) as events:
                        await self._read(events)
                except RegistryError as error:
                    self._away(error.detail)
                    await asyncio.sleep(PAUSE)

    async def _read(self, events: AsyncGenerator[Event, None]) -> None:
        async for event in events:
            match event.type:
                case "connected" | "resync":
                    # The stream is open: what the list lacks comes as an event.
                    await self._load(event.revision or 0)
                case "disconnected":
                    self._away(self._session.fault)
                case _ if self.snapshot is not None and self.snapshot.apply(event):
                    self.changed.set()

    def _away(self, reason: str) -> None:
        if not self._fault:
            kept = "; all stays as it is" if self.snapshot else ""
            say(f"the registry can't be followed: {reason}{kept}; trying again")
        self._fault = reason

    async def _load(self, revision: int) -> None:
        """Read all lists, none older than ``revision`` if that can be.

        Raises `RegistryError`: then the stream is opened again, maybe elsewhere.
        """
        # From the replica that sends the stream: another one may be behind it.
        driver = AsyncDriver(replace(self._settings, urls=(self._session.url,)))
        try:
            for _ in range(TRIES):
                self.snapshot = await read(driver, self._capabilities)
                if self.snapshot.revision >= revision:
                    break
                await asyncio.sleep(PAUSE)
        finally:
            await driver.close()
        if self._fault:
            say("the registry is followed again")
        self._fault = ""
        self.changed.set()


async def read(driver: AsyncDriver, capabilities: Sequence[str] = ()) -> Snapshot:
    """Return what the registry holds now. Raises `RegistryError`."""
    if capabilities:
        lists = {name: await driver.run(calls.providers(name)) for name in capabilities}
        return Snapshot(
            (service for providers in lists.values() for service in providers),
            {name: each.split for name, each in lists.items() if each.split},
            min(providers.revision for providers in lists.values()),
        )
    page = await driver.run(calls.splits())
    splits = list(page)
    revision = page.revision
    while page.next is not None:
        page = await driver.run(calls.splits(cursor=page.next))
        splits.extend(page)
    services = await driver.run(calls.services())
    groups = {split.capability: split.groups for split in splits}
    return Snapshot(services, groups, min(revision, services.revision))
