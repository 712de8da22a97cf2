"""Follows the registry: one thread with one loop, one stream for all capabilities."""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable
from contextlib import aclosing
from dataclasses import replace

import httpx

from modularity_client import calls
from modularity_client.errors import RegistryError
from modularity_client.events.session import Event, Session
from modularity_client.events.stream import afollow
from modularity_client.http.transport import AsyncDriver, Settings
from modularity_client.resolver.cache import Board
from modularity_client.resolver.call_reports import Reports

log = logging.getLogger("modularity_client")

BURST = 0.01
"""Seconds for which new capabilities are gathered before the stream is opened anew."""

INVOCATIONS = frozenset({"capability.invoked"})
"""Everybody's reports of their calls, which come with the stream."""

PAUSE, LONGEST_PAUSE = 0.1, 2.0
"""Seconds between two tries to read a list from a registry whose stream is there."""

LISTS_AT_ONCE = 8

FLUSH_WITHIN = 1.0
"""Seconds that the last reports may take when it ends."""


class Follower:
    """Keeps a board current. ``changed`` is told, in its thread, what has changed.

    The order loses nothing: the stream is there before a list is read, so whatever the
    list lacks comes as an event.
    """

    def __init__(
        self,
        settings: Settings,
        board: Board,
        changed: Callable[[Iterable[str]], None],
        keep_alive: float,
    ) -> None:
        self._told = AsyncDriver(settings)
        self.reports = Reports(self._told, self.later)
        self.fault = ""
        self._settings = settings
        self._board = board
        self._changed = changed
        self._session = Session(settings, keep_alive=keep_alive, ignored=INVOCATIONS)
        self._loop = asyncio.new_event_loop()
        self._wanted = asyncio.Event()
        self._stopped = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None
        self._lists: dict[str, asyncio.Task[None]] = {}
        self._drivers: dict[str, AsyncDriver] = {}
        self._places = asyncio.Semaphore(LISTS_AT_ONCE)
        self._rejoining = False
        self._thread = threading.Thread(
            target=self._run, name="modularity-resolver", daemon=True
        )

    # For any thread

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def widen(self, names: Iterable[str]) -> None:
        """Follow these capabilities as well."""
        self.later(0, lambda: self._widen(names))

    def later(self, delay: float, call: Callable[[], None]) -> None:
        """Run ``call`` in the loop after ``delay`` seconds; never, once it ended."""
        try:
            self._loop.call_soon_threadsafe(self._loop.call_later, delay, call)
        except RuntimeError:
            log.debug("the resolver has ended")

    def is_current_thread(self) -> bool:
        """Say whether the caller is the follower's own thread."""
        return threading.current_thread() is self._thread

    def stop(self) -> None:
        """End the thread, after the last reports; returns when it has ended."""
        self.later(0, self._stopped.set)
        if not self.is_current_thread():
            self._thread.join(FLUSH_WITHIN + 1.0)

    # In the loop

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._main())

    async def _main(self) -> None:
        following = asyncio.create_task(self._follow())
        try:
            await self._stopped.wait()
            following.cancel()
            self._drop_lists()
            await asyncio.wait({following})
            async with asyncio.timeout(FLUSH_WITHIN):
                await self.reports.flush()
        except TimeoutError:
            log.debug("not all calls were reported in time")
        finally:
            for driver in (self._told, *self._drivers.values()):
                await driver.close()

    async def _follow(self) -> None:
        async with httpx.AsyncClient(**self._settings.options()) as client:
            while True:
                await self._wanted.wait()
                reading = asyncio.create_task(self._read(client))
                self._reading = reading
                try:
                    await asyncio.wait({reading})
                finally:
                    reading.cancel()  # it does nothing to one that has ended
                error = None if reading.cancelled() else reading.exception()
                if error is not None:
                    self._failed(error)
                    await asyncio.sleep(self._session.pause())

    async def _read(self, client: httpx.AsyncClient) -> None:
        async with aclosing(afollow(self._session, client)) as events:
            async for event in events:
                self._take(event)

    def _failed(self, error: BaseException) -> None:
        fault = str(error) or type(error).__name__
        if not isinstance(error, RegistryError):
            self._session.broke(error)
            log.error("the resolver failed to follow the registry", exc_info=error)
        elif fault != self.fault:
            log.warning("the registry refuses to be followed: %s", fault)
        self._away(fault)

    def _away(self, fault: str) -> None:
        self.fault = fault
        self._drop_lists()
        self._board.disconnected(self._session.heard)
        self._board.settle()

    def _take(self, event: Event) -> None:
        match event.type:
            case "connected":
                self.fault = ""
                self._board.connected()
                self._read_lists()
                self._rejoin_soon()
            case "disconnected":
                self._away(self._session.fault)
            case "resync":
                log.info("events are missing: %s", event.data.get("reason"))
                self._board.doubt()
                self._read_lists()
            case _:
                self._changed(self._board.take(event))

    def _widen(self, names: Iterable[str]) -> None:
        self._session.capabilities.update(names)
        if self._session.capabilities:  # to ask for none of them is to ask for all
            self._wanted.set()
        self._rejoin_soon()

    def _rejoin_soon(self) -> None:
        """Have the stream cover what is wanted; one that isn't up yet will anyway."""
        session = self._session
        covered = session.capabilities <= session.asked
        if session.connected and not covered and not self._rejoining:
            self._rejoining = True
            self._loop.call_later(BURST, self._rejoin)

    def _rejoin(self) -> None:
        self._rejoining = False
        if self._session.connected and self._reading is not None:
            # The next one goes on after the last event of this one.
            self._board.disconnected(self._session.heard)
            self._session.connected = False
            self._reading.cancel()

    def _read_lists(self) -> None:
        for name in self._board.doubtful():
            if name in self._session.asked and name not in self._lists:
                task = asyncio.create_task(self._read_list(name))
                self._lists[name] = task

    def _drop_lists(self) -> None:
        lists, self._lists = self._lists, {}
        for task in lists.values():
            task.cancel()

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
                self.fault = str(error)
                await asyncio.sleep(pause)
                pause = min(LONGEST_PAUSE, pause * 2)

    async def _install_list(self, name: str) -> bool:
        """Read a list and take it; return whether it could be used."""
        async with self._places:
            generation = self._board.generation(name)
            # From where the stream is: another replica may be behind it.
            driver = self._driver(self._session.url)
            listed = await driver.run(calls.providers(name))
        taken, changed = self._board.install(name, listed, generation)
        if taken:
            self.fault = ""
        if changed:
            self._changed([name])
        return taken

    def _driver(self, url: str) -> AsyncDriver:
        if url not in self._drivers:
            self._drivers[url] = AsyncDriver(replace(self._settings, urls=(url,)))
        return self._drivers[url]
