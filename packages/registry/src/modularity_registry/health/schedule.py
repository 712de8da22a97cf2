"""When to look at whom, and what follows from what was seen. No clock and no I/O.

Times are seconds of one monotonic clock, handed in.
"""

import random
from typing import Literal

from modularity_registry.health.check_queue import CheckQueue, DueQueue
from modularity_registry.health.self_suspicion import SelfSuspicion
from modularity_registry.health.watched_service import (
    WatchedCheck,
    WatchedService,
    has_check_fault,
    has_check_warning,
)
from modularity_registry.model import status
from modularity_registry.model.checks import ServiceCheck, named
from modularity_registry.model.service import CheckPlan, Service

JITTER = 0.1
"""An interval varies by this share, so that checks don't fall into step."""

RECHECK = 0.1
"""The share of the interval until the next check, after a failure of one that may be
accused at once."""

RECHECK_MINIMUM = 1.0
"""The seconds until then at least, unless the interval itself is shorter."""

Verdict = Literal["add_fault", "add_warning", "remove_faults"]
LeaseState = Literal["held", "missed", "expired"]


class Schedule:
    """Who is to be looked at next, and whether the watcher should doubt itself.

    Who was popped from ``checks`` or ``leases`` is not due there again before
    `record_check` or `check_lease` is called for it. Who was popped from ``checks`` is
    under way, and holds a place, until `end_check`.
    """

    def __init__(
        self,
        defaults: CheckPlan,
        fall: int,
        rise: int,
        rng: random.Random,
        checks: CheckQueue | None = None,
    ) -> None:
        self._defaults = defaults
        self._fall = fall
        self._rise = rise
        self._rng = rng
        self.checks = checks or CheckQueue()
        self.leases = DueQueue()
        self.suspicion = SelfSuspicion()
        self._watched: dict[str, WatchedService] = {}
        self._named: dict[str, list[WatchedCheck]] = {}

    def __len__(self) -> int:
        return len(self._watched)

    def follow(
        self, service_id: str, service: Service | None, now: float, spread: bool
    ) -> None:
        """Take note of a service as it is now; None when it is gone.

        A new registration is checked at once, or with ``spread`` at some time within
        its interval, for when many come at the same moment. Those were in the store
        before this replica watched them: no check has found fault, so they have passed.
        """
        known = self._watched.get(service_id)
        if known is not None:
            if service is not None and service.registered_at == known.registered_at:
                self._refresh(known, service)
                return
            self._drop(known)
            for check in self._named.pop(service_id, ()):
                self._drop_check(check)
        if service is not None:
            self._add(service_id, service, now, spread)

    def get(self, service_id: str) -> WatchedService | None:
        """Return a service as it is under watch here; None if it is not."""
        return self._watched.get(service_id)

    def units(self, service_id: str) -> list[WatchedService]:
        """Return all that is under watch of a service: itself and its named checks."""
        watched = self._watched.get(service_id)
        if watched is None:
            return []
        return [watched, *self._named.get(service_id, ())]

    def ids(self) -> list[str]:
        """Return the ids of all services under watch."""
        return list(self._watched)

    def record_check(
        self,
        watched: WatchedService,
        ok: bool | None,
        started: float,
        now: float,
        doubted: bool,
        warns: bool = False,
    ) -> Verdict | None:
        """Return what a check's outcome changes, and note when the next one is due.

        None for ``ok`` says that the check itself could not be made, and ``warns`` that
        the service has answered with a warning, which is ``ok``. ``doubted`` says
        that the registry doubted itself when the check began: then it accuses nobody,
        even if the doubt has ended meanwhile. A verdict is returned again after the
        next check if it was not carried out.
        """
        watched.recorded = True
        if ok is None or watched.gone:
            watched.due = max(started + self._pause(watched), now)
            return None
        self.suspicion.count(watched, -1)
        watched.passed = watched.passed or ok
        watched.failures = 0 if ok else watched.failures + 1
        watched.doubted = 0 if ok else watched.doubted + doubted
        watched.successes = watched.successes + 1 if ok else 0
        watched.clean = 0 if warns or not ok else watched.clean + 1
        self.suspicion.count(watched, 1)
        watched.due = max(started + self._pause(watched), now)
        return self._verdict(watched)

    def end_check(self, watched: WatchedService, now: float) -> None:
        """Give the place of a check back; the service is due again, unless gone."""
        self.checks.release(watched)
        if not watched.gone:
            due = watched.due if watched.recorded else now + self._pause(watched)
            watched.recorded = False
            self.checks.push(max(due, now), watched)

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

    def fall_of(self, watched: WatchedService) -> int:
        """Return how many failures in a row make the service unhealthy."""
        plan = watched.plan
        return self._fall if plan is None or plan.fall is None else plan.fall

    def plan_of(self, service: Service, check: str) -> CheckPlan | None:
        """Return how to make a check: the one with this name, or that of the mode.

        None if the service has no such check, or its mode none.
        """
        if not check:
            return status.check_plan(service.registration, self._defaults)
        found = named(service.registration.checks, check)
        if found is None or found.ttl is not None:
            return None
        return status.named_plan(found, self._defaults)

    def _add(self, key: str, service: Service, now: float, spread: bool) -> None:
        plan = status.check_plan(service.registration, self._defaults)
        ttl = service.registration.ttl
        if plan is None and ttl is None and not service.registration.checks:
            return
        passed = spread and not has_check_fault(service)
        watched = self._watched[key] = WatchedService(service, plan, passed)
        self.suspicion.count(watched, 1)
        if plan is not None:
            delay = self._rng.uniform(0, plan.interval) if spread else 0.0
            self.checks.push(now + delay, watched)
        if ttl is not None:
            self.leases.push(now + ttl, watched)
        if service.registration.checks:
            self._named[key] = [
                self._add_check(check, service, now, spread)
                for check in service.registration.checks
            ]

    def _add_check(
        self, check: ServiceCheck, service: Service, now: float, spread: bool
    ) -> WatchedCheck:
        plan = status.named_plan(check, self._defaults)
        passed = spread and not has_check_fault(service, check.name)
        if check.ttl is not None:
            reported = WatchedCheck(service, None, passed, check)
            self.leases.push(now + check.ttl, reported)
            return reported
        watched = WatchedCheck(service, plan, passed, check)
        delay = self._rng.uniform(0, plan.interval) if spread else 0.0
        self.checks.push(now + delay, watched)
        return watched

    def _drop_check(self, watched: WatchedCheck) -> None:
        watched.gone = True
        if watched.plan is not None:
            self.checks.forget(watched)
        else:
            self.leases.forget()

    def _drop(self, watched: WatchedService) -> None:
        self.suspicion.count(watched, -1)
        watched.gone = True
        del self._watched[watched.id]
        if watched.plan is not None:
            self.checks.forget(watched)
        if watched.ttl is not None:
            self.leases.forget()

    def _refresh(self, watched: WatchedService, service: Service) -> None:
        self.suspicion.count(watched, -1)
        watched.has_fault = has_check_fault(service)
        watched.has_warning = has_check_warning(service)
        self.suspicion.count(watched, 1)
        for check in self._named.get(watched.id, ()):
            check.has_fault = has_check_fault(service, check.name)
            check.has_warning = has_check_warning(service, check.name)

    def _verdict(self, watched: WatchedService) -> Verdict | None:
        fall, rise = self.fall_of(watched), self._rise
        if watched.plan is not None and watched.plan.rise is not None:
            rise = watched.plan.rise
        warns = watched.successes > 0 and watched.clean == 0
        if watched.has_fault:
            if watched.successes < rise:
                return None
            return "add_warning" if warns else "remove_faults"
        if warns and not watched.has_warning:
            # At once: it is the service's own word, and no fault of the network.
            return "add_warning"
        if watched.has_warning and watched.clean >= rise:
            return "remove_faults"
        if not watched.passed:
            return self._accuse(watched) if watched.failures >= fall else None
        if watched.failures - watched.doubted < fall or self.suspicion.active:
            return None
        return self._accuse(watched)

    def _accuse(self, watched: WatchedService) -> Verdict | None:
        if not isinstance(watched, WatchedCheck) or watched.critical:
            return "add_fault"
        return None if watched.has_warning else "add_warning"

    def _pause(self, watched: WatchedService) -> float:
        interval = watched.plan.interval if watched.plan else 0.0
        if 0 < watched.failures < self.fall_of(watched):
            interval = self._recheck(watched, interval)
        # After the first check, services that registered together drift apart.
        elif not watched.drifted:
            watched.drifted = True
            return interval * self._rng.uniform(0.5, 1.0)
        return interval * self._rng.uniform(1 - JITTER, 1 + JITTER)

    def _recheck(self, watched: WatchedService, interval: float) -> float:
        """Return the seconds from a failure to the next check."""
        share = RECHECK
        if watched.passed and self.suspicion.possible:
            # The verdict takes an interval, in which all other hosts are checked once:
            # they show whether the fault is the registry's own.
            share = 1 / (self.fall_of(watched) - 1)
        return min(interval, max(interval * share, RECHECK_MINIMUM))
