"""Time, as something that is handed in, so that tests need not wait for it."""

import time
from datetime import UTC, datetime
from typing import Protocol

import msgspec


class Clock(Protocol):
    """Two readings: one to measure with, one to show."""

    def monotonic(self) -> float:
        """Seconds that only grow; for intervals, time-outs and leases."""

    def now(self) -> datetime:
        """The wall clock, in UTC; for people and records, never for decisions."""


class SystemClock:
    """The machine's clocks."""

    def monotonic(self) -> float:
        return time.monotonic()

    def now(self) -> datetime:
        return datetime.now(UTC)


_encode = msgspec.json.Encoder().encode


def rfc3339_json(moment: datetime) -> bytes:
    """Return `rfc3339` as a JSON string."""
    if moment.microsecond:  # msgspec leaves out a fraction of 0
        return _encode(moment)
    return _encode(moment.isoformat(timespec="microseconds")[:-6] + "Z")


def rfc3339(moment: datetime) -> str:
    """Return a UTC time as `2025-10-17T02:59:31.123456Z`, always with microseconds."""
    # A sixth of the time of `isoformat`.
    return rfc3339_json(moment)[1:-1].decode()


def maybe_rfc3339(moment: datetime | None) -> str | None:
    """Return the same; None for none."""
    return None if moment is None else rfc3339(moment)
