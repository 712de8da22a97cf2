"""Takes a service out of the registry, unless another process registered it since."""

import logging
import threading
from dataclasses import dataclass
from datetime import datetime
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
from modularity_client.types.services import Changed

log = logging.getLogger("modularity_client")

ResultT = TypeVar("ResultT")

CALL_TIMEOUT = 2.0
"""Seconds that each call may take when a membership ends."""


@dataclass(frozen=True, slots=True)
class Registration:
    """What a member knows of its registration.

    ``registered_at`` and ``revision`` are None while unknown; ``owner_key`` is None
    when it was registered without one.
    """

    service_id: str
    location: str
    registered_at: datetime | None
    revision: int | None
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
            if self._replaced():
                return "another process has registered this id; left as it is"
        except Forbidden:
            # The token has no right to read, so nothing can tell who is registered.
            self._call(self._unregister(registration.revision))
            _pause(grace)
            return "unregistered"
        reason = "it is shutting down"
        drained = self._call(calls.drain(service_id, reason=reason, owner_key=key))
        _pause(grace)
        try:
            self._call(self._unregister(drained.revision))
        except RevisionMismatch:
            self._unregister_drained()
        return "unregistered"

    def _replaced(self) -> bool:
        current = self._call(calls.service(self._registration.service_id))
        if current.location != self._registration.location:
            return True
        since = self._registration.registered_at
        return since is not None and current.registered_at != since

    def _unregister_drained(self) -> None:
        """Unregister a service that changed, unless it was registered again."""
        current = self._call(calls.service(self._registration.service_id))
        if current.status == "draining":
            self._call(self._unregister(current.revision))

    def _unregister(self, revision: int | None) -> Call[Changed]:
        registration = self._registration
        return calls.unregister(
            registration.service_id,
            revision=revision,
            owner_key=registration.owner_key,
        )

    def _call(self, call: Call[ResultT]) -> ResultT:
        return self._driver.run(call, CALL_TIMEOUT)


def _pause(seconds: float) -> None:
    if seconds:
        threading.Event().wait(seconds)
