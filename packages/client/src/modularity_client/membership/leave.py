"""Takes this process out of the registry, and the service with the last process."""

import logging
import threading
from dataclasses import dataclass
from typing import TypeVar

from modularity_client import calls
from modularity_client.errors import (
    Forbidden,
    NotFound,
    RegistryError,
    RevisionMismatch,
)
from modularity_client.http.call import Call
from modularity_client.http.transport import Driver

log = logging.getLogger("modularity_client")

ResultT = TypeVar("ResultT")

CALL_TIMEOUT = 2.0
"""Seconds that each call may take when a membership ends."""


@dataclass(frozen=True, slots=True)
class Registration:
    """What a member has registered: a service, as one of its instances.

    ``owner_key`` is None when it was registered without one.
    """

    service_id: str
    instance: str
    owner_key: str | None


def leave(driver: Driver, registration: Registration, grace: float) -> None:
    """Drain, wait for ``grace`` seconds, unregister. Logs a failure, raises nothing."""
    service_id = registration.service_id
    try:
        outcome = _Departure(driver, registration).run(grace)
        log.info("%s: %s", service_id, outcome)
    except NotFound:
        log.info("%s: was already unregistered", service_id)
    except RegistryError as error:
        log.warning(
            "%s: could not unregister (%s); the registry marks it unhealthy"
            " when its checks fail",
            service_id,
            error.detail,
        )


class _Departure:
    def __init__(self, driver: Driver, registration: Registration) -> None:
        self._driver = driver
        self._registration = registration

    def run(self, grace: float) -> str:
        """Return the outcome, for the log."""
        registration = self._registration
        service_id, key = registration.service_id, registration.owner_key
        try:
            current = self._call(calls.service(service_id))
        except Forbidden:
            # The token has no right to read, so nothing can tell who else is there.
            outcome = self._unregister()
            _pause(grace)
            return outcome
        if registration.instance not in current.instances:
            return "another process has registered this id; left as it is"
        if len(current.instances) > 1:
            return self._unregister()
        reason = "it is shutting down"
        drained = self._call(calls.drain(service_id, reason=reason, owner_key=key))
        _pause(grace)
        try:
            return self._unregister(drained.revision)
        except RevisionMismatch:  # perhaps another instance has joined meanwhile
            return self._unregister()

    def _unregister(self, revision: int | None = None) -> str:
        registration = self._registration
        changed = self._call(
            calls.unregister(
                registration.service_id,
                revision=revision,
                instance=registration.instance,
                owner_key=registration.owner_key,
            )
        )
        is_last = changed.status != "left"
        return "unregistered" if is_last else "left; other instances go on"

    def _call(self, call: Call[ResultT]) -> ResultT:
        return self._driver.run(call, CALL_TIMEOUT)


def _pause(seconds: float) -> None:
    if seconds:
        threading.Event().wait(seconds)
