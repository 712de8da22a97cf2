"""Limits how many refused calls get a line: callers decide how many there are."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from modularity_registry.clock import Clock
from modularity_registry.model.rights import network_of

WINDOW = 60.0
"""Seconds over which refusals are counted."""

PER_CLIENT = 10
"""How many refusals of one client get a line in that time."""

ADDRESSES = 100
"""How many addresses without a token may get lines in that time."""

CLIENTS_NAMED = 20
"""How many clients, those with most refusals, the summary names."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Refusals without a line, ``since`` then; ``clients`` are those with most."""

    since: datetime
    count: int
    clients: dict[str, int]


class RefusalQuota:
    """Decides which refusals get a line. For one thread at a time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._begin()

    def take(self, token: str | None, address: str) -> bool:
        """Count a refusal; return whether it gets a line.

        It counts for the caller's ``token``, or else for the address, so that no caller
        uses up the quota of a token.
        """
        client = token or network_of(address)
        if token is None and client not in self._seen:
            # A caller may have any number of addresses: only the first are counted.
            if self._addresses == ADDRESSES:
                self._left_out += 1
                return False
            self._addresses += 1
        self._seen[client] += 1
        if self._seen[client] <= PER_CLIENT:
            return True
        self._left_out += 1
        return False

    def end_window(self, at_once: bool = False) -> LeftOut | None:
        """Start the next window if this one is over; return what got no line in it.

        ``at_once`` ends it early. None if every refusal got a line.
        """
        if not at_once and self._clock.monotonic() < self._until:
            return None
        left_out = None
        if self._left_out:
            clients = {
                client: times - PER_CLIENT
                for client, times in self._seen.most_common(CLIENTS_NAMED)
                if times > PER_CLIENT
            }
            left_out = LeftOut(self._since, self._left_out, clients)
        self._begin()
        return left_out

    def _begin(self) -> None:
        self._until = self._clock.monotonic() + WINDOW
        self._since = self._clock.now()
        self._seen: Counter[str] = Counter()
        self._addresses = 0
        self._left_out = 0
