"""Eureka's statuses of an instance, as this registry's faults and drains."""

import re
from datetime import datetime
from typing import Final

from modularity_registry.model import status
from modularity_registry.model.service import Fault, FaultSource, Service

UP: Final = "UP"
DOWN: Final = "DOWN"
OUT_OF_SERVICE: Final = "OUT_OF_SERVICE"
UNKNOWN: Final = "UNKNOWN"
STATUSES: Final = frozenset({UP, DOWN, "STARTING", OUT_OF_SERVICE, UNKNOWN})

_REPORTED = "the instance reports the status "
_OVERRIDDEN = "the status is overridden as "
_WORD = re.compile(f"(?:{_REPORTED}|{_OVERRIDDEN})(\\w+)")
_SELF: frozenset[FaultSource] = frozenset({"lease", "report"})


def known(word: str) -> str:
    """Return a status in upper case; `UNKNOWN` for one that Eureka does not have."""
    return word.upper() if word.upper() in STATUSES else UNKNOWN


def effective(service: Service) -> str:
    """Return the status that clients are shown."""
    if service.drain is not None:
        return _word(service.drain.reason) or OUT_OF_SERVICE
    if service.faults:
        words = (_word(fault.reason) for fault in service.faults)
        return next(filter(None, words), DOWN)
    return UP


def overridden(service: Service) -> str:
    """Return the status by which somebody overrides the instance's own."""
    drain = service.drain
    if drain is None or drain.reason.startswith(_REPORTED):
        return UNKNOWN
    return _word(drain.reason) or OUT_OF_SERVICE


def reported(service: Service, word: str, now: datetime) -> Service:
    """Return the service after its instance has reported a status, and so lives.

    An override stays. It is the service itself if nothing is new.
    """
    reason = _REPORTED + word
    if word in (UP, OUT_OF_SERVICE):
        service = status.without_faults(service, _SELF, now)
    else:
        service = status.without_faults(service, frozenset({"lease"}), now)
        if not any(fault.reason == reason for fault in service.faults):
            service = status.with_fault(service, Fault("report", reason, now))
    drain = service.drain
    if word == OUT_OF_SERVICE and drain is None:
        return status.drained(service, reason, now)
    if word != OUT_OF_SERVICE and drain and drain.reason.startswith(_REPORTED):
        return status.undrained(service, now)
    return service


def renewed(service: Service, now: datetime) -> Service:
    """Return the service after a heartbeat that reports no status."""
    return status.without_faults(service, frozenset({"lease"}), now)


def override(word: str) -> str:
    """Return the reason of a drain that shows a service with this status."""
    return _OVERRIDDEN + word


def registered(current: Service | None, new: Service, word: str) -> Service:
    """Return what an instance registers, with the status that it reports.

    An override of the registration before it stays, as an order to drain does.
    """
    drain = current.drain if current else None
    if current and drain is not None and overridden(current) != UNKNOWN:
        new = status.drained(new, drain.reason, drain.at)
    return reported(new, word, new.registered_at)


def _word(reason: str) -> str | None:
    match = _WORD.match(reason)
    return match[1] if match else None
