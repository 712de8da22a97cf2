"""Follows the registry in one thread, with one stream for all capabilities."""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable
from contextlib import aclosing
from dataclasses import replace

import httpx

from modularity_client import calls
from modularity_client.errors import RegistryError
from modularity_client.events.session import CHANGES, Event, Session
from modularity_client.events.stream import afollow
from modularity_client.http.transport import AsyncDriver, Settings
from modularity_client.resolver.cache import ProviderCache
from modularity_client.resolver.call_reports import CallReporter

log = logging.getLogger("modularity_client")

BURST = 0.01
"""Seconds for which new capabilities are collected before the stream is reopened."""

PAUSE, LONGEST_PAUSE = 0.1, 2.0
"""Seconds between two attempts to read a list; the pause doubles."""

LISTS_AT_ONCE = 8

FLUSH_WITHIN = 1.0
"""Seconds that the last reports may take at the end."""


class RegistryFollower:
    """Keeps a cache current. Calls ``changed``, in its thread, after each change.

    No change is lost: the stream is open before a list is read, so a change that the
    list lacks comes as an event.
    """

    def __init__(
        self,
        settings: Settings,
        cache: ProviderCache,
        changed: Callable[[Iterable[str]], None],
        keep_alive: float,
    ) -> None:
        self._report_driver = AsyncDriver(settings)
        self.reporter = CallReporter(self._report_driver, self.later)
        self.fault = ""
        self._settings = settings
        self._cache = cache
        self._changed = changed
        self._session = Session(settings, keep_alive=keep_alive, types=CHANGES)
        self._loop = asyncio.new_event_loop()
        self._has_capabilities = asyncio.Event()
        self._stopped = asyncio.Event()
        self._stream: asyncio.Task[None] | None = None
        self._lists: dict[str, asyncio.Task[None]] = {}
        self._drivers: dict[str, AsyncDriver] = {}
        self._list_slots = asyncio.Semaphore(LISTS_AT_ONCE)
        self._reopen_due = False
        self._thread = threading.Thread(
            target=self._run, name="modularity-resolver", daemon=True
        )

    # Called in any thread

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def add_capabilities(self, names: Iterable[str]) -> None:
        """Follow these capabilities too."""
        self.later(0, lambda: self._add_capabilities(names))

    def later(self, delay: float, call: Callable[[], None]) -> None:
        """Run ``call`` in the loop after ``delay`` seconds; not after the end."""
        try:
            self._loop.call_soon_threadsafe(self._loop.call_later, delay, call)
        except RuntimeError:
            log.debug("the resolver has ended")

    def is_current_thread(self) -> bool:
        """Return whether the caller runs in the follower's thread."""
        return threading.current_thread() is self._thread

    def stop(self) -> None:
        """Send the last reports, and end the thread; waits for that."""
        self.later(0, self._stopped.set)
        if not self.is_current_thread():
            self._thread.join(FLUSH_WITHIN + 1.0)

    # In the loop

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._main())

    async def _main(self) -> None:
        follow_task = asyncio.create_task(self._follow())
        try:
            await self._stopped.wait()
            follow_task.cancel()
            # Before their clients are closed: one that connects would leave a socket.
            await asyncio.wait({follow_task, *self._drop_lists()})
            async with asyncio.timeout(FLUSH_WITHIN):
                await self.reporter.flush()
        except TimeoutError:
            log.debug("not all calls were reported in time")
        finally:
            for driver in (self._report_driver, *self._drivers.values()):
                await driver.close()

    async def _follow(self) -> None:
        async with httpx.AsyncClient(**self._settings.options()) as client:
            while True:
                await self._has_capabilities.wait()
                stream = asyncio.create_task(self._read(client))
                self._stream = stream
                try:
                    await asyncio.wait({stream})
                finally:
                    stream.cancel()  # no effect if it has ended
                    await asyncio.wait({stream})
                error = None if stream.cancelled() else stream.exception()
                if error is not None:
                    self._failed(error)
                    await asyncio.sleep(self._session.pause())

    async def _read(self, client: httpx.AsyncClient) -> None:
        async with aclosing(afollow(self._session, client)) as events:
            async for event in events:
                self._apply(event)

    def _failed(self, error: BaseException) -> None:
        fault = str(error) or type(error).__name__
        if not isinstance(error, RegistryError):
            self._session.note_failure(error)
            log.error("the resolver failed to follow the registry", exc_info=error)
        elif fault != self.fault:
            log.warning("the registry refuses the stream of events: %s", fault)
        self._registry_lost(fault)

    def _registry_lost(self, fault: str) -> None:
        self.fault = fault
        self._drop_lists()
        self._cache.disconnected(self._session.last_heard)
        self._cache.accept_stale()

    def _apply(self, event: Event) -> None:
        match event.type:
            case "connected":
                self.fault = ""
                self._cache.connected()
                self._read_lists()
                self._reopen_if_needed()
            case "disconnected":
                self._registry_lost(self._session.fault)
            case "resync":
                log.info(
                    "events are missing, reading the lists again: %s",
                    event.data.get("reason"),
                )
                self._cache.mark_stale()
                self._read_lists()
            case _:
                self._changed(self._cache.apply(event))

    def _add_capabilities(self, names: Iterable[str]) -> None:
        self._session.capabilities.update(names)
        if self._session.capabilities:  # a stream without names would have all events
            self._has_capabilities.set()
        self._reopen_if_needed()

    def _reopen_if_needed(self) -> None:
        """Reopen an open stream that lacks a capability, after `BURST` seconds."""
        session = self._session
        covered = session.capabilities <= session.subscribed
        if session.connected and not covered and not self._reopen_due:
            self._reopen_due = True
            self._loop.call_later(BURST, self._reopen)

    def _reopen(self) -> None:
        self._reopen_due = False
        if self._session.connected and self._stream is not None:
            # The next stream continues after the last event of this one.
            self._cache.disconnected(self._session.last_heard)
            self._session.connected = False
            self._stream.cancel()

    def _read_lists(self) -> None:
        for name in self._cache.stale_names():
            if name in self._session.subscribed and name not in self._lists:
                task = asyncio.create_task(self._read_list(name))
                self._lists[name] = task

    def _drop_lists(self) -> list[asyncio.Task[None]]:
        lists, self._lists = self._lists, {}
        for task in lists.values():
            task.cancel()
        return list(lists.values())

    async def _read_list(self, name: str) -> None:
        pause = PAUSE
        while True:
            try:
                if await self._install_list(name):
                    self._lists.pop(name, None)
                    return
            except Exception as error:
                if not isinstance(error, RegistryError):
                    log.exception("the resolver failed to read a list")
                self.fault = str(error) or type(error).__name__
                await asyncio.sleep(pause)
                pause = min(LONGEST_PAUSE, pause * 2)

    async def _install_list(self, name: str) -> bool:
        """Read a list and install it; return whether it could be used."""
        async with self._list_slots:
            generation = self._cache.generation(name)
            # From the replica that sends the stream: another one may be behind it.
            driver = self._driver(self._session.url)
            providers = await driver.run(calls.providers(name))
        installed, changed = self._cache.install(name, providers, generation)
        if installed:
            self.fault = ""
        if changed:
            self._changed([name])
        return installed

    def _driver(self, url: str) -> AsyncDriver:
        if url not in self._drivers:
            self._drivers[url] = AsyncDriver(replace(self._settings, urls=(url,)))
        return self._drivers[url]
