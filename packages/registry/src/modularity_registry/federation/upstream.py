"""One upstream: another registry, followed by our own client on the event loop.

It is not copied, since it may hold 100,000 services of which nobody here asks for any.
A list of providers is read when a caller first needs it, and kept until an event says
that it has changed. For that, one stream has all the changes of the upstream: a stream
of the kept names alone would have to be reopened for each new name.

An upstream that does not answer, or whose own view is not current, is not asked: what
was read from it before may be out of date.
"""

import asyncio
import logging
from contextlib import aclosing
from functools import partial
from typing import Any, Final

import httpx

from modularity_client.errors import RegistryError
from modularity_client.events.session import CHANGES, Event, Session
from modularity_client.events.stream import afollow
from modularity_client.http.call import Call, Reply, capability_path
from modularity_client.http.credentials import Credentials
from modularity_client.http.transport import AsyncDriver
from modularity_client.http.transport import Settings as ClientSettings
from modularity_registry import tasks
from modularity_registry.catalog.catalog import Capability
from modularity_registry.clock import Clock, rfc3339
from modularity_registry.federation.errors import UpstreamAway
from modularity_registry.federation.kept_lists import KeptLists
from modularity_registry.federation.local_only import LOCAL_ONLY
from modularity_registry.federation.provider_list import read_list
from modularity_registry.schema.replies.registry import Upstream as State

log = logging.getLogger(__name__)

ANSWER_WITHIN: Final = 1.0
"""Seconds in which an upstream has to answer."""

CHECK_PERIOD: Final = 1.0
"""Seconds between two checks that it is ready."""

MOST_PROVIDERS: Final = 200
"""Healthy providers of one capability that are taken from an upstream."""

LISTS_AT_ONCE: Final = 8
"""Lists that are read from an upstream at the same time; others wait."""

_LONGEST_REPLY = 4 * 1024 * 1024
_HEADERS = {LOCAL_ONLY: "1"}


class Upstream:
    """Follows one upstream, and knows who provides a capability there.

    All of it runs on the event loop. ``fault`` is why it can't be asked, None if it
    can.
    """

    def __init__(
        self, name: str, url: str, credentials: Credentials, clock: Clock
    ) -> None:
        self.name = name
        self.url = url
        self.fault: str | None = "it has not answered yet"
        self._clock = clock
        self._since = clock.now()
        self._settings = ClientSettings(
            (url,), credentials, ANSWER_WITHIN, None, _LONGEST_REPLY
        )
        self._driver = AsyncDriver(self._settings)
        self._kept = KeptLists()
        self._asking: dict[str, asyncio.Task[Capability]] = {}
        self._slots = asyncio.Semaphore(LISTS_AT_ONCE)
        self._task: asyncio.Task[None] | None = None

    @property
    def state(self) -> State:
        """What `/health` shows of it."""
        state = "unreachable" if self.fault else "connected"
        since = rfc3339(self._since)
        return State(self.name, self.url, state, since, len(self._kept), self.fault)

    def start(self) -> None:
        """Begin to follow it."""
        self._task = tasks.start(f"upstream-{self.name}", self._run())

    async def stop(self) -> None:
        """End all that is under way. Idempotent."""
        await tasks.cancel(self._task)
        for task in tuple(self._asking.values()):
            task.cancel()
        await self._driver.close()

    async def capability(self, name: str) -> Capability:
        """Return who is healthy there and provides ``name``; raises `UpstreamAway`."""
        if self.fault is not None:
            raise UpstreamAway(self.fault)
        kept = self._kept.get(name)
        if kept is not None:
            return kept
        task = self._asking.get(name)
        if task is None:
            task = asyncio.create_task(self._ask(name))
            self._asking[name] = task
            task.add_done_callback(partial(self._asked, name))
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                # Shared with others, who go on to wait when this caller does not.
                return await asyncio.shield(task)
        except TimeoutError:
            seconds = f"{ANSWER_WITHIN:g} s"
            raise UpstreamAway(f"it did not answer within {seconds}") from None

    def _asked(self, name: str, task: asyncio.Task[Capability]) -> None:
        del self._asking[name]
        if not task.cancelled():
            task.exception()  # of which nobody may wait to hear any more

    async def _ask(self, name: str) -> Capability:
        events = self._kept.events
        try:
            async with self._slots:
                call = _providers(name)
                capability, revision = await self._driver.run(call)
        except RegistryError as error:
            raise UpstreamAway(error.detail) from None
        if self.fault is not None:  # found out meanwhile
            raise UpstreamAway(self.fault)
        self._kept.keep(capability, revision, events)
        return capability

    async def _run(self) -> None:
        options = self._settings.options() | {"headers": _HEADERS}
        async with httpx.AsyncClient(**options) as client:
            while True:
                try:
                    await self._driver.run(_READY)
                    await self._follow(client)
                except (RegistryError, UpstreamAway) as error:
                    self._lost(str(error))
                except Exception as error:
                    log.exception("following the upstream %s failed", self.name)
                    self._lost(f"following it failed: {type(error).__name__}")
                await asyncio.sleep(CHECK_PERIOD)

    async def _follow(self, client: httpx.AsyncClient) -> None:
        """Follow it until it is lost; raises why."""
        events = asyncio.create_task(self._read_events(client))
        checks = asyncio.create_task(self._check_often())
        try:
            await asyncio.wait((events, checks), return_when=asyncio.FIRST_COMPLETED)
            for task in (events, checks):
                if task.done():
                    task.result()
        finally:
            await tasks.cancel(events, checks)

    async def _read_events(self, client: httpx.AsyncClient) -> None:
        session = Session(self._settings, types=CHANGES)
        async with aclosing(afollow(session, client)) as events:
            async for event in events:
                self._apply(event)

    async def _check_often(self) -> None:
        # The stream alone would show an upstream that hangs only after half a minute,
        # and one whose store is away never.
        while True:
            await asyncio.sleep(CHECK_PERIOD)
            await self._driver.run(_READY)

    def _apply(self, event: Event) -> None:
        match event.type:
            case "connected":
                self._found()
            case "disconnected":
                raise UpstreamAway(str(event.data["reason"]))
            case "resync":
                self._kept.clear()
            case "capability.split_changed":
                name = event.data["capability"]
                self._kept.changed("", [name], event.revision or 0)
            case _ if event.service is not None:
                service = event.service
                revision = event.revision or 0
                self._kept.changed(service.id, service.capabilities, revision)

    def _found(self) -> None:
        if self.fault is not None:
            log.info("the upstream %s answers", self.name)
            self.fault, self._since = None, self._clock.now()
        self._kept.clear()

    def _lost(self, fault: str) -> None:
        if self.fault is None:
            self._since = self._clock.now()
        if self.fault != fault:
            log.warning("the upstream %s can't be asked: %s", self.name, fault)
        self.fault = fault
        self._kept.clear()


def _providers(name: str) -> Call[tuple[Capability, int]]:
    """Return the call for the healthy providers, and those with a warning."""

    def parse(_: Any, reply: Reply) -> tuple[Capability, int]:
        if "x-registry-stale" in reply.headers:
            raise UpstreamAway("its own view is not current")
        return read_list(name, reply.body)

    query = (("status", "active"), ("limit", str(MOST_PROVIDERS)))
    path = f"{capability_path(name)}/services"
    return Call("GET", path, parse, query, headers=_HEADERS, patient=False)


def _is_ready(data: Any, _: Reply) -> None:
    if data["status"] != "ready":
        raise ValueError("it is not ready")


_READY: Call[None] = Call("GET", "/ready", _is_ready, headers=_HEADERS, patient=False)
