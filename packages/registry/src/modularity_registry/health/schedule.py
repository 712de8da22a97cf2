"""When to look at whom, and what follows from what was seen. No clock and no I/O.

Times are seconds of one monotonic clock, handed in.
"""

import heapq
import random
from itertools import count
from typing import Literal

from modularity_registry.model import status
from modularity_registry.model.service import CheckPlan, Service

JITTER = 0.1
"""An interval varies by this share, so that checks don't fall into step."""

Verdict = Literal["add_fault", "remove_faults"]
LeaseState = Literal["held", "missed", "expired"]


class WatchedService:
    """A registration under watch: by checks (``plan``), by its lease, or both."""

    __slots__ = (
        "failures",
        "gone",
        "has_fault",
        "id",
        "judged",
        "plan",
        "registered_at",
        "successes",
        "ttl",
    )

    def __init__(self, service: Service, plan: CheckPlan | None) -> None:
        self.id = service.registration.id
        self.registered_at = service.registered_at
        self.plan = plan
        self.ttl = service.registration.ttl
        self.failures = 0
        self.successes = 0
        self.has_fault = _has_fault(service)
        self.judged = False
        self.gone = False

    @property
    def good(self) -> bool:
        """Checked at least once, and not found unhealthy so far."""
        return self.judged and not self.has_fault

    @property
    def failing(self) -> bool:
        """Good so far, but the last check failed."""
        return self.good and self.failures > 0


class Queue:
    """Who is due when."""

    def __init__(self) -> None:
        self._order = count()
        self._heap: list[tuple[float, int, WatchedService]] = []

    def push(self, due: float, watched: WatchedService) -> None:
        """Have ``watched`` come up at ``due``."""
        heapq.heappush(self._heap, (due, next(self._order), watched))

    def pop(self, now: float) -> WatchedService | None:
        """Return and remove who is due next; None if nobody is yet."""
        while self._heap and self._heap[0][0] <= now:
            watched = heapq.heappop(self._heap)[2]
            if not watched.gone:
                return watched
        return None

    def next_at(self) -> float | None:
        """Return when somebody is due next."""
        return self._heap[0][0] if self._heap else None


class Schedule:
    """Who is to be looked at next, and whether the watcher should doubt itself.

    Who was popped from ``checks`` or ``leases`` is not due there again before
    `record_check` or `check_lease` is called for it.
    """

    def __init__(
        self, defaults: CheckPlan, fall: int, rise: int, rng: random.Random
    ) -> None:
        self._defaults = defaults
        self._fall = fall
        self._rise = rise
        self._rng = rng
        self.checks = Queue()
        self.leases = Queue()
        self._watched: dict[str, WatchedService] = {}
        self.good = 0
        self.failing = 0

    def __len__(self) -> int:
        return len(self._watched)

    @property
    def suspicion(self) -> str | None:
        """Why this registry's own network may be at fault; None if it is not likely."""
        if not status.suspicious(self.failing, self.good):
            return None
        return (
            f"{self.failing} of {self.good} services fail their checks together, so the"
            " fault may lie with this registry or its network: no service becomes"
            " unhealthy until at most half of them fail; unregister those that are gone"
        )

    def follow(
        self, service_id: str, service: Service | None, now: float, spread: bool
    ) -> None:
        """Take note of a service as it is now; None when it is gone.

        A new registration is checked at once, or with ``spread`` at some time within
        its interval, for when many come at the same moment.
        """
        known = self._watched.get(service_id)
        if known is not None:
            if service is not None and service.registered_at == known.registered_at:
                self._refresh(known, service)
                return
            self._tally(known, -1)
            known.gone = True
            del self._watched[service_id]
        if service is not None:
            self._add(service_id, service, now, spread)

    def watches(self, service_id: str) -> bool:
        """Say whether a service is under watch here."""
        return service_id in self._watched

    def ids(self) -> list[str]:
        """Return the ids of all services under watch."""
        return list(self._watched)

    def record_check(
        self, watched: WatchedService, ok: bool | None, started: float
    ) -> tuple[Verdict | None, float]:
        """Return what a check's outcome changes, and when the next check is due.

        None for ``ok`` says that the check itself could not be made. A verdict is
        returned again after the next check if it was not carried out.
        """
        due = started + self._pause(watched, first=not watched.judged)
        self.checks.push(due, watched)
        if ok is None:
            return None, due
        self._tally(watched, -1)
        watched.judged = True
        watched.failures = 0 if ok else watched.failures + 1
        watched.successes = watched.successes + 1 if ok else 0
        self._tally(watched, 1)
        return self._verdict(watched), due

    def check_lease(
        self, watched: WatchedService, seen: float, now: float
    ) -> LeaseState:
        """Return the state of a lease whose last sign of life was at ``seen``."""
        ttl = watched.ttl or 0.0
        if status.lease_expired(seen, ttl, now):
            self.leases.push(now + ttl, watched)
            return "expired"
        if status.lease_missed(seen, ttl, now):
            self.leases.push(min(now + ttl, seen + ttl * status.LEASE_TERMS), watched)
            return "missed"
        self.leases.push(seen + ttl, watched)
        return "held"

    def _add(self, key: str, service: Service, now: float, spread: bool) -> None:
        plan = status.check_plan(service.registration, self._defaults)
        ttl = service.registration.ttl
        if plan is None and ttl is None:
            return
        watched = self._watched[key] = WatchedService(service, plan)
        if plan is not None:
            delay = self._rng.uniform(0, plan.interval) if spread else 0.0
            self.checks.push(now + delay, watched)
        if ttl is not None:
            self.leases.push(now + ttl, watched)

    def _refresh(self, watched: WatchedService, service: Service) -> None:
        self._tally(watched, -1)
        watched.has_fault = _has_fault(service)
        self._tally(watched, 1)

    def _verdict(self, watched: WatchedService) -> Verdict | None:
        if watched.gone:
            return None
        if watched.has_fault:
            return "remove_faults" if watched.successes >= self._rise else None
        if watched.failures < self._fall or self.suspicion:
            return None
        return "add_fault"

    def _pause(self, watched: WatchedService, first: bool) -> float:
        interval = watched.plan.interval if watched.plan else 0.0
        # After the first check, services that registered together drift apart.
        low = 0.5 if first else 1 - JITTER
        return interval * self._rng.uniform(low, 1.0 if first else 1 + JITTER)

    def _tally(self, watched: WatchedService, step: int) -> None:
        if watched.gone:
            return
        self.good += step * watched.good
        self.failing += step * watched.failing


def _has_fault(service: Service) -> bool:
    return any(fault.source == "check" for fault in service.faults)
