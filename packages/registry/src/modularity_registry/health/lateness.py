"""How late health checks are, for /health, the metrics and the log."""

import logging
from math import inf
from typing import Final

from modularity_registry.health.check_queue import CheckQueue, is_late
from modularity_registry.health.watched_service import WatchedService
from modularity_registry.telemetry.counters import Metrics
from modularity_registry.telemetry.spell import Spell

log = logging.getLogger(__name__)

LOOK: Final = 1.0
"""Seconds between two looks at the checks that wait."""

SPELL_SECONDS: Final = 60.0
"""The log has one line for checks that are late within so many seconds."""


class Lateness:
    """Looks at the checks that wait, and counts those that began late.

    A check is late that has not begun an interval after it was due.
    """

    def __init__(self, checks: CheckQueue, metrics: Metrics) -> None:
        self._checks = checks
        self._metrics = metrics
        self._delay = 0.0
        self._looked = -inf
        self._spell = Spell(SPELL_SECONDS)

    @property
    def reason(self) -> str | None:
        """A reason to be degraded; None when no check is late."""
        if not self._delay:
            return None
        if self._checks.full:
            cause = f"all {self._checks.total} places for checks are taken"
            advice = "find the services that don't answer, or add a replica"
        else:
            share = self._checks.share
            cause = f"{share} checks of one owner or at one host are under way"
            advice = "find its services that don't answer, or lower their timeouts"
        return f"health checks are up to {self._delay:.0f} s late: {cause}; {advice}"

    @property
    def next_look(self) -> float | None:
        """When to `look` again; None when nothing is late or might become so."""
        if self._delay or self._checks.waiting or self._checks.full:
            return self._looked + LOOK
        return None

    def look(self, now: float) -> None:
        """Look how late the checks are that wait, if it is time to."""
        if now - self._looked >= LOOK:
            self._looked = now
            self._delay = self._checks.delay(now)

    def begin(self, watched: WatchedService, now: float) -> None:
        """Count a check that begins, if it is late."""
        if not is_late(watched, now):
            return
        self._metrics.late_checks += 1
        if self._spell.extend(now):
            log.warning("a health check begins %.0f s late", now - watched.due)
