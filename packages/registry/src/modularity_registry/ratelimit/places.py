"""Places, of which no client has all: connections, bodies, streams and waits."""

import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from modularity_registry.telemetry import logs
from modularity_registry.telemetry.spell import Spell

_log = logging.getLogger(__name__)

SPELL_SECONDS: Final = 60.0
"""A shortage is over when nobody was refused for so long."""

FULL = "full"
SHARE = "share"
REASONS: Final = (FULL, SHARE)
"""Why there was no place: all were taken, or the client had its share."""


class Places:
    """``total`` places for what ``kind`` names, of which one client may have ``each``.

    An ``each`` of 0 stands for three quarters of the total. ``refused`` counts those
    for whom there was none, by reason. ``advice`` says what to do when all are taken.
    """

    def __init__(
        self,
        kind: str,
        total: int,
        each: int = 0,
        advice: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.kind = kind
        self.total = total
        self.each = each or total - total // 4
        self.taken = 0
        self.refused = Counter(dict.fromkeys(REASONS, 0))
        self._advice = advice
        self._clock = clock
        self._spells = {reason: Spell(SPELL_SECONDS) for reason in REASONS}
        self._taken_by: Counter[str] = Counter()

    @property
    def full(self) -> bool:
        """Whether all are taken."""
        return self.taken >= self.total

    @property
    def fault(self) -> str | None:
        """A reason to be degraded: all are taken, or were within the last minute."""
        if self.full:
            return f"{self._all_of_them()} are taken{self._advice}"
        if self._spells[FULL].lasts(self._clock()):
            return f"{self._all_of_them()} were taken a moment ago{self._advice}"
        return None

    def has_its_share(self, client: str) -> bool:
        """Say whether a client has as many as one client may have."""
        return self._taken_by[client] >= self.each

    def has_room(self, client: str) -> bool:
        """Say whether there is a place for ``client``."""
        return not self.full and not self.has_its_share(client)

    def take(self, client: str, unlimited: bool = False) -> bool:
        """Take a place for ``client`` and say so; to be given back with `free`.

        An ``unlimited`` client, such as a proxy for many, is bound by the total alone.
        """
        if self.full or (self.has_its_share(client) and not unlimited):
            self.refuse(client)
            return False
        self.taken += 1
        self._taken_by[client] += 1
        return True

    def refuse(self, client: str) -> None:
        """Count a refusal of ``client``; the first of a spell goes to the log."""
        reason = FULL if self.full else SHARE
        self.refused[reason] += 1
        first = self._spells[reason].extend(self._clock())
        if first and reason == FULL:
            _log.warning("%s are taken%s", self._all_of_them(), self._advice)
        elif first:
            _log.warning(
                "one client has the %d places for %s that one may have; more of it are"
                " refused",
                self.each,
                self.kind,
                extra=logs.fields(client=client),
            )

    def free(self, client: str) -> None:
        """Give a place back that ``client`` took."""
        self.taken -= 1
        self._taken_by[client] -= 1
        if not self._taken_by[client]:
            del self._taken_by[client]

    def _all_of_them(self) -> str:
        return f"all {self.total} places for {self.kind}"
