"""How a member takes its leave, unless somebody else has its place by now."""

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

GOODBYE = 2.0
"""Seconds that a call of a membership may take when it ends."""


@dataclass(frozen=True, slots=True)
class Place:
    """What a member knows of its registration; ``since`` and ``revision`` if it does.

    ``owner_key`` is what it was registered with, None for none.
    """

    service_id: str
    location: str
    since: datetime | None
    revision: int | None
    owner_key: str | None


def part(driver: Driver, place: Place, grace: float) -> None:
    """Drain, wait for ``grace`` seconds, unregister; a failure is a line in the log."""
    try:
        log.info("%s: %s", place.service_id, _Parting(driver, place).say(grace))
    except NotFound:
        log.info("%s: was unregistered already", place.service_id)
    except RegistryError as error:
        log.warning(
            "%s: no goodbye (%s); its checks will find out",
            place.service_id,
            error.detail,
        )


class _Parting:
    def __init__(self, driver: Driver, place: Place) -> None:
        self._driver = driver
        self._place = place

    def say(self, grace: float) -> str:
        """Return what came of it."""
        place = self._place
        try:
            if self._replaced():
                return "left to the process that took over"
        except Forbidden:
            # The token may register and not read: nobody can say who has the place.
            self._ask(self._unregister(place.revision))
            _pause(grace)
            return "unregistered"
        key, reason = place.owner_key, "it is shutting down"
        drained = self._ask(calls.drain(place.service_id, reason=reason, owner_key=key))
        _pause(grace)
        try:
            self._ask(self._unregister(drained.revision))
        except RevisionMismatch:
            self._unregister_drained()
        return "unregistered"

    def _replaced(self) -> bool:
        there = self._ask(calls.service(self._place.service_id))
        if there.location != self._place.location:
            return True
        return (
            self._place.since is not None and there.registered_at != self._place.since
        )

    def _unregister_drained(self) -> None:
        """Unregister although something has changed, unless it was registered anew."""
        there = self._ask(calls.service(self._place.service_id))
        if there.status == "draining":
            self._ask(self._unregister(there.revision))

    def _unregister(self, revision: int | None) -> Call[Changed]:
        place = self._place
        return calls.unregister(
            place.service_id, revision=revision, owner_key=place.owner_key
        )

    def _ask(self, call: Call[ResultT]) -> ResultT:
        return self._driver.run(call, GOODBYE)


def _pause(seconds: float) -> None:
    if seconds:
        threading.Event().wait(seconds)
