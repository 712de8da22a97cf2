"""Keeps a service registered, from a thread of its own, until the service ends."""

import asyncio
import logging
import os
import random
import threading
import uuid
from collections.abc import Callable
from dataclasses import replace
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
    UnknownNamespace,
)
from modularity_client.http.transport import Driver, Settings
from modularity_client.membership.announcement import announce
from modularity_client.membership.leave import Registration, leave
from modularity_client.membership.port_check import wait_until_listening
from modularity_client.membership.shutdown import SHUTDOWN_TIMEOUT, shutdown_handler
from modularity_client.types.services import Registered, ServiceFields

log = logging.getLogger("modularity_client")

TTL = 15.0
"""Seconds that a lease lasts unless the service says otherwise."""

CALL_TIMEOUT = 3.0
"""Seconds that each call of a membership may take."""

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0
"""Seconds: bounds of the pause after a failure, which doubles each time."""

REFUSED_PAUSE = 60.0
"""Seconds: as `LONGEST_PAUSE`, for a refusal, which only an operator can fix."""

REFUSALS = (Unauthorized, Forbidden, Conflict, InvalidRequest, UnknownNamespace)
"""The registry does not accept the member, and a retry alone does not help."""


class Joining(ServiceFields, total=False):
    """How to join: the fields of the service, and options of joining.

    ``grace`` is the seconds between drain and unregistering, in which callers move to
    other providers. ``when_listening`` waits until something listens at the location.
    ``on_registered`` and ``on_error`` are called in the membership's thread.
    """

    grace: float
    when_listening: bool
    on_registered: Callable[[Registered], object]
    on_error: Callable[[RegistryError], object]


def pause_after(failures: int, longest: float = LONGEST_PAUSE) -> float:
    """Return the seconds to wait after this many failures in a row, with jitter."""
    bound = min(longest, FIRST_PAUSE * 2.0 ** min(failures - 1, 10))
    return random.uniform(bound / 2, bound)


class Membership:
    """Keeps a service registered while the context lasts.

    It registers the service, sends a heartbeat three times per ``ttl``, and registers
    again when the registry has forgotten the service. At the end of the context, at
    exit and on SIGTERM, it leaves. Several processes may join with one id, as the
    workers of gunicorn or uvicorn do: each is an instance of the service, and the last
    one to leave drains and unregisters it.

    The service runs on while the registry is unreachable: the membership retries. It
    also retries after a refusal (an invalid token, or an id that belongs to another),
    with pauses that grow to a minute; `error` and the log have the reason. Entering
    waits for the first reply, but not longer than a call may take. The thread is a
    daemon; the end of the process waits for it a few seconds at most.

    A membership belongs to the process that started it and does nothing in the child
    of a fork. Use it with ``with`` or ``async with``, or call `start` and `leave`.
    """

    def __init__(self, settings: Settings, **joining: Unpack[Joining]) -> None:
        options = cast(dict[str, Any], dict(joining))
        self.grace: float = options.pop("grace", 0.0)
        self._when_listening: bool = options.pop("when_listening", False)
        self._on_registered = options.pop("on_registered", None)
        self._on_error = options.pop("on_error", None)
        options.setdefault("ttl", TTL)
        if not options.keys() & {"zone", "region"}:
            options.update(settings.place.fields())
        self._put = calls.put(**options)  # raises here, not in the thread
        self._service = options
        self._instance = ""
        self._key: str | None = options.get("owner_key")
        self.service_id: str = options["id"]
        self._heartbeat_seconds = (options["ttl"] or TTL) / 3
        self._wait_seconds = settings.timeout
        timeout = min(settings.timeout, CALL_TIMEOUT)
        self._driver = Driver(replace(settings, timeout=timeout))
        self.owner: int | None = None
        self._ending = threading.Event()
        self._wake = threading.Event()
        self._tried = threading.Event()
        self._registered = threading.Event()
        self._present = False  # also when a reply was lost and it may be registered
        self._announced = False
        self._reported = (False, False, "")
        self._failures = 0
        self._error: RegistryError | None = None
        self._thread = threading.Thread(
            target=self._run, name=f"membership of {self.service_id}", daemon=True
        )

    @property
    def registered(self) -> bool:
        """Whether the registry knows the service, as of its last reply."""
        return self._in_owner_process() and self._registered.is_set()

    @property
    def error(self) -> RegistryError | None:
        """The error of the last call; None if it succeeded."""
        return self._error if self._in_owner_process() else None

    def __repr__(self) -> str:
        state = "registered" if self.registered else "not registered"
        return f"Membership({self.service_id!r}, {state})"

    def wait(self, timeout: float | None = None) -> bool:
        """Wait up to ``timeout`` seconds; return whether the service is registered."""
        return self._in_owner_process() and self._registered.wait(timeout)

    def report(
        self, *, unhealthy: bool = False, warning: bool = False, note: str = ""
    ) -> None:
        """Report the service's health to the registry, now and with each heartbeat.

        With ``warning``, callers get it only if no other one is healthy; ``unhealthy``
        is the stronger of the two. Without either, the service is healthy again.
        Holds until the next report. Raises `RuntimeError` in the child of a fork.
        """
        if self.owner is not None and not self._in_owner_process():
            raise RuntimeError(
                f"process {self.owner} joined as {self.service_id!r}, and this is its"
                " child: join in this process too, or report in the parent"
            )
        self._reported = (unhealthy, warning, note)
        self._wake.set()

    def start(self) -> Self:
        """Start the thread. Raises `RuntimeError` when called a second time."""
        if self.owner is not None:
            raise RuntimeError("a membership can start only once; call join() again")
        self.owner = os.getpid()
        # Not before: the children of a fork are instances of their own.
        self._instance = self._service.get("instance") or uuid.uuid4().hex[:12]
        self._put = calls.put(**self._service | {"instance": self._instance})
        self._thread.start()
        shutdown_handler.add(self)
        return self

    def leave(self) -> None:
        """Unregister, and wait for that a few seconds at most. Idempotent."""
        self.end()
        if not self.ended(SHUTDOWN_TIMEOUT + self.grace):
            log.warning("%s: could not unregister in time", self.service_id)
        shutdown_handler.discard(self)

    async def aleave(self) -> None:
        """As `leave`, for asyncio."""
        await asyncio.to_thread(self.leave)
        shutdown_handler.discard(self)  # again, in a thread that may remove the handler

    def end(self) -> None:
        """Begin to leave, in the background. Idempotent."""
        if self._in_owner_process():
            self._ending.set()
            self._wake.set()

    def ended(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds; return whether it has left."""
        if self._in_owner_process() and threading.current_thread() is not self._thread:
            if timeout > 0:  # else it must not block: a signal handler asks
                self._thread.join(timeout)
            return not self._thread.is_alive()
        return True

    def __enter__(self) -> Self:
        self.start()
        self._wait_for_first_try()
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    async def __aenter__(self) -> Self:
        self.start()
        try:
            await asyncio.to_thread(self._wait_for_first_try)
        except asyncio.CancelledError:
            self.end()  # __aexit__ is not called when __aenter__ fails
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aleave()

    def _in_owner_process(self) -> bool:
        return self.owner == os.getpid()

    def _wait_for_first_try(self) -> None:
        if not self._when_listening:
            self._tried.wait(self._wait_seconds)

    def _run(self) -> None:
        if self._when_listening:
            wait_until_listening(self._service["location"], self._ending)
        while not self._ending.is_set():
            pause = self._step()
            self._tried.set()
            self._wake.wait(pause)
            self._wake.clear()
        try:
            if self._present:
                leave(self._driver, self._registration(), self.grace)
        finally:
            self._tried.set()
            self._registered.clear()
            self._driver.close()

    def _step(self) -> float:
        """Register or send a heartbeat; return the seconds until the next step."""
        try:
            if self._registered.is_set():
                self._heartbeat()
            else:
                self._register()
        except NotRegistered:
            # Register again at once. If that fails, it is a failure like any other.
            self._registered.clear()
            log.info("%s: no longer registered; registering again", self.service_id)
            try:
                self._register()
            except RegistryError as error:
                return self._failed(error)
        except RegistryError as error:
            return self._failed(error)
        except Exception:  # if the thread died, the service would drop out
            log.exception("%s: unexpected error", self.service_id)
            self._failures += 1
            return pause_after(self._failures)
        self._failures = 0
        return self._heartbeat_seconds * random.uniform(0.8, 1.0)

    def _register(self) -> None:
        try:
            registered = self._driver.run(self._put)
        except RegistryUnreachable as error:
            self._present = self._present or error.sent
            raise
        self._present = True
        if registered.displaced:
            log.warning("%s: %s", self.service_id, registered.message)
        if not self._announced:
            self._announced = True
            announce(
                self.service_id,
                self._service["location"],
                self._driver.server,
                self._driver.settings.namespace,
            )
        elif self._error is None:
            log.info("%s: registered", self.service_id)
        self._clear_error()
        self._registered.set()
        self._run_callback(self._on_registered, registered)
        if any(self._reported[:2]):
            self._heartbeat()  # a registration begins as healthy

    def _heartbeat(self) -> None:
        unhealthy, warning, note = self._reported
        heartbeat = calls.heartbeat(
            self.service_id,
            unhealthy=unhealthy,
            warning=warning,
            note=note,
            owner_key=self._key,
        )
        try:
            self._driver.run(heartbeat)
        except OwnedByAnother:
            # Another process has taken the id: there is nothing left to unregister.
            self._registered.clear()
            self._present = False
            raise
        self._clear_error()

    def _registration(self) -> Registration:
        return Registration(self.service_id, self._instance, self._key)

    def _clear_error(self) -> None:
        if self._error is not None:
            log.info("%s: recovered; the service is registered", self.service_id)
            self._error = None

    def _failed(self, error: RegistryError) -> float:
        self._failures += 1
        before, self._error = self._error, error
        refused = isinstance(error, REFUSALS)
        if type(before) is not type(error):  # log it once: it may last for hours
            self._log_failure(error, refused)
        self._run_callback(self._on_error, error)
        if refused:
            return pause_after(self._failures, REFUSED_PAUSE)
        pause = pause_after(self._failures)
        registered = self._registered.is_set()
        return min(pause, self._heartbeat_seconds) if registered else pause

    def _log_failure(self, error: RegistryError, refused: bool) -> None:
        if refused:
            log.error(
                "%s: the registry refuses the service: %s (HTTP %s); retrying"
                " with pauses of up to a minute",
                self.service_id,
                error.detail,
                error.status,
            )
        else:
            log.warning("%s: %s; retrying", self.service_id, error.detail)

    def _run_callback(
        self, callback: Callable[[Any], object] | None, value: object
    ) -> None:
        if callback is not None:
            try:
                callback(value)
            except Exception:
                log.exception("%s: a callback failed", self.service_id)
