"""Keeps a service registered, from a thread of its own, until the service ends."""

import asyncio
import logging
import os
import random
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any, Self, Unpack, cast

from modularity_client import calls
from modularity_client.errors import (
    Conflict,
    Forbidden,
    InvalidRequest,
    NotRegistered,
    OwnedByAnother,
    RegistryError,
    RegistryUnreachable,
    Unauthorized,
)
from modularity_client.http.transport import Driver, Settings
from modularity_client.membership.leave import Place, part
from modularity_client.membership.ready import await_listening
from modularity_client.membership.shutdown import PATIENCE, farewells
from modularity_client.types.services import Registered, ServiceFields

log = logging.getLogger("modularity_client")

TTL = 15.0
"""Seconds that a lease lasts unless the service says otherwise."""

TRY = 3.0
"""Seconds that a call of a membership may take."""

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0
"""Seconds: bounds of the pause after a failure, which doubles each time."""

REFUSED_PAUSE = 60.0
"""As `LONGEST_PAUSE`, where somebody has to do something: the registry is well."""

REFUSALS = (Unauthorized, Forbidden, Conflict)
"""The member may not have its place, and that won't pass by itself."""


class Joining(ServiceFields, total=False):
    """How to join: the service, and what is about joining itself.

    ``grace`` is the seconds between drain and unregistering, in which callers go
    elsewhere. ``when_listening`` waits until something listens at the location.
    ``on_registered`` and ``on_error`` are called in the membership's thread.
    """

    grace: float
    when_listening: bool
    on_registered: Callable[[Registered], object]
    on_error: Callable[[RegistryError], object]


def pause_after(failures: int, longest: float = LONGEST_PAUSE) -> float:
    """Return the seconds to wait after so many failures in a row, with jitter."""
    bound = min(longest, FIRST_PAUSE * 2.0 ** min(failures - 1, 10))
    return random.uniform(bound / 2, bound)


class Membership:
    """A service's place in the registry, held while the context lasts.

    It registers, sends a heartbeat three times per ``ttl``, and registers again when
    the registry has forgotten it. At the end, by the context, by exit or by SIGTERM,
    it takes the service out of discovery and unregisters it, unless somebody has
    registered the same id since: one that takes over is left alone.

    A registry that is away does not stop the service: it is asked again and again.
    Nor does one that refuses it (no good token, or the id belongs to another): `error`
    and the log say so, and it is asked less and less often, down to once a minute.
    Entering waits for the first answer, but not longer than a call may take. The
    thread is a daemon, and the end of the process waits for it a few seconds at most.

    It belongs to the process that started it: in the child of a fork it does nothing.
    Use it with ``with`` or ``async with``, or call `start` and `leave`.
    """

    def __init__(self, settings: Settings, **joining: Unpack[Joining]) -> None:
        options = cast(dict[str, Any], dict(joining))
        self.grace: float = options.pop("grace", 0.0)
        self._when_listening: bool = options.pop("when_listening", False)
        self._on_registered = options.pop("on_registered", None)
        self._on_error = options.pop("on_error", None)
        options.setdefault("ttl", TTL)
        self._put = calls.put(**options)  # raises here, not in the thread
        self._service = options
        self._key: str | None = options.get("owner_key")
        self.service_id: str = options["id"]
        self._beat_seconds = (options["ttl"] or TTL) / 3
        self._wait_seconds = settings.timeout
        timeout = min(settings.timeout, TRY)
        self._driver = Driver(replace(settings, timeout=timeout))
        self.owner: int | None = None
        self._ending = threading.Event()
        self._wake = threading.Event()
        self._tried = threading.Event()
        self._registered = threading.Event()
        self._present = False  # or may be, when a reply was lost
        self._since: datetime | None = None
        self._revision: int | None = None
        self._said = (False, "")
        self._failures = 0
        self._error: RegistryError | None = None
        self._thread = threading.Thread(
            target=self._run, name=f"membership of {self.service_id}", daemon=True
        )

    @property
    def registered(self) -> bool:
        """Whether the registry has confirmed it, and not said otherwise since."""
        return self._here() and self._registered.is_set()

    @property
    def error(self) -> RegistryError | None:
        """What the last call came to, if that was in vain; None while all is well."""
        return self._error if self._here() else None

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is registered, at most so many seconds; say whether it is."""
        return self._here() and self._registered.wait(timeout)

    def report(self, *, unhealthy: bool, note: str = "") -> None:
        """Tell the registry how the service is, at once and with each heartbeat.

        Holds until the next report. Raises `RuntimeError` in the child of a fork.
        """
        if self.owner is not None and not self._here():
            raise RuntimeError(
                f"process {self.owner} joined as {self.service_id!r}, this is its"
                " child: join here as well, or report there"
            )
        self._said = (unhealthy, note)
        self._wake.set()

    def start(self) -> Self:
        """Begin, in the background. Raises `RuntimeError` the second time."""
        if self.owner is not None:
            raise RuntimeError("a membership starts once; join again for another one")
        self.owner = os.getpid()
        self._thread.start()
        farewells.add(self)
        return self

    def leave(self) -> None:
        """Unregister; waits for it, but not for ever. Idempotent."""
        self.end()
        if not self.ended(PATIENCE + self.grace):
            log.warning("%s: gave up on saying goodbye", self.service_id)
        farewells.discard(self)

    async def aleave(self) -> None:
        """As `leave`, and lets other tasks run meanwhile."""
        await asyncio.to_thread(self.leave)
        farewells.discard(self)  # once more, where the handler can be taken away

    def end(self) -> None:
        """Begin to leave, in the background. Idempotent."""
        if self._here():
            self._ending.set()
            self._wake.set()

    def ended(self, timeout: float) -> bool:
        """Wait for the end, at most so many seconds; say whether it has come."""
        if self._here() and threading.current_thread() is not self._thread:
            self._thread.join(timeout)
            return not self._thread.is_alive()
        return True

    def __enter__(self) -> Self:
        self.start()
        self._await_first_try()
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    async def __aenter__(self) -> Self:
        self.start()
        try:
            await asyncio.to_thread(self._await_first_try)
        except asyncio.CancelledError:
            self.end()  # there will be no exit from what was not entered
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aleave()

    def _here(self) -> bool:
        return self.owner == os.getpid()

    def _await_first_try(self) -> None:
        if not self._when_listening:
            self._tried.wait(self._wait_seconds)

    def _run(self) -> None:
        if self._when_listening:
            await_listening(self._service["location"], self._ending)
        while not self._ending.is_set():
            pause = self._step()
            self._tried.set()
            self._wake.wait(pause)
            self._wake.clear()
        try:
            if self._present:
                part(self._driver, self._place(), self.grace)
        finally:
            self._tried.set()
            self._registered.clear()
            self._driver.close()

    def _step(self) -> float:
        """Do what is to be done now; return the seconds until the next time."""
        try:
            if self._registered.is_set():
                self._beat()
            else:
                self._register()
        except NotRegistered:
            # Forgotten: register at once. A second time in a row is a failure.
            self._registered.clear()
            log.info("%s: the registry does not know it any more", self.service_id)
            try:
                self._register()
            except RegistryError as error:
                return self._failed(error)
        except RegistryError as error:
            return self._failed(error)
        except Exception:  # a thread that dies would take the service with it
            log.exception("%s: unexpected error", self.service_id)
            self._failures += 1
            return pause_after(self._failures)
        self._failures = 0
        return self._beat_seconds * random.uniform(0.8, 1.0)

    def _register(self) -> None:
        try:
            done = self._driver.run(self._put)
        except RegistryUnreachable as error:
            self._present = self._present or error.sent
            raise
        self._present = True
        self._revision = done.revision
        self._since = self._registered_at()
        self._registered.set()
        if self._error is None:
            log.info("%s: registered", self.service_id)
        self._recovered()
        self._call(self._on_registered, done)
        if self._said[0]:
            self._beat()  # a registration begins as healthy

    def _registered_at(self) -> datetime | None:
        # What tells this registration from a later one of the same id and location.
        try:
            return self._driver.run(calls.service(self.service_id)).registered_at
        except RegistryError:
            return None

    def _beat(self) -> None:
        unhealthy, note = self._said
        beat = calls.heartbeat(
            self.service_id, unhealthy=unhealthy, note=note, owner_key=self._key
        )
        try:
            self._driver.run(beat)
        except OwnedByAnother:
            # Somebody has taken the id since: there is nothing left to say goodbye to.
            self._registered.clear()
            self._present = False
            raise
        self._recovered()

    def _place(self) -> Place:
        location = self._service["location"]
        return Place(self.service_id, location, self._since, self._revision, self._key)

    def _recovered(self) -> None:
        if self._error is not None:
            log.info("%s: registered, all is well again", self.service_id)
            self._error = None

    def _failed(self, error: RegistryError) -> float:
        self._failures += 1
        before, self._error = self._error, error
        refused = isinstance(error, REFUSALS)
        if type(before) is not type(error):  # once: it may go on for hours
            self._complain(error, refused)
        self._call(self._on_error, error)
        if refused:
            return pause_after(self._failures, REFUSED_PAUSE)
        pause = pause_after(self._failures)
        return min(pause, self._beat_seconds) if self._registered.is_set() else pause

    def _complain(self, error: RegistryError, refused: bool) -> None:
        if refused:
            said = f"the registry refuses it: {error.detail} (HTTP {error.status})"
            said += "; trying on, down to once a minute"
            log.error("%s: %s", self.service_id, said)
        else:
            invalid = isinstance(error, InvalidRequest)
            level = logging.ERROR if invalid else logging.WARNING
            log.log(level, "%s: %s; trying on", self.service_id, error.detail)

    def _call(self, callback: Callable[[Any], object] | None, value: object) -> None:
        if callback is not None:
            try:
                callback(value)
            except Exception:
                log.exception("%s: a callback failed", self.service_id)
