"""How many refusals may be lines of their own: whoever is refused chooses how often."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from modularity_registry.clock import Clock
from modularity_registry.model.rights import network_of

WINDOW = 60.0
"""Seconds for which refusals are counted together."""

OF_ONE_CLIENT = 10
"""So many of one client, in that time, are lines of their own."""

STRANGERS = 100
"""Of so many addresses, that show no token, is that true; of more there are none."""

CLIENTS_NAMED = 20
"""So many of those with most are named when what was left out is summed up."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Refusals ``since`` then that are no lines; ``clients`` are those with most."""

    since: datetime
    count: int
    clients: dict[str, int]


class Refusals:
    """Decides which refusals become lines. Not for several threads at once."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._begin()

    def take(self, token: str | None, address: str) -> bool:
        """Count a refusal; say whether it is to be a line.

        It counts for the caller's ``token``, without one for their address: nobody
        can use up what another token has.
        """
        who = token or network_of(address)
        if token is None and who not in self._seen:
            # Addresses are without number, so not all of them are remembered.
            if self._strangers == STRANGERS:
                self._left_out += 1
                return False
            self._strangers += 1
        self._seen[who] += 1
        if self._seen[who] <= OF_ONE_CLIENT:
            return True
        self._left_out += 1
        return False

    def turn(self, at_once: bool = False) -> LeftOut | None:
        """Begin another window if this one is over; return what was left out of it.

        ``at_once`` ends it before its time. None where nothing was left out.
        """
        if not at_once and self._clock.monotonic() < self._until:
            return None
        found = None
        if self._left_out:
            clients = {
                who: times - OF_ONE_CLIENT
                for who, times in self._seen.most_common(CLIENTS_NAMED)
                if times > OF_ONE_CLIENT
            }
            found = LeftOut(self._since, self._left_out, clients)
        self._begin()
        return found

    def _begin(self) -> None:
        self._until = self._clock.monotonic() + WINDOW
        self._since = self._clock.now()
        self._seen: Counter[str] = Counter()
        self._strangers = 0
        self._left_out = 0
