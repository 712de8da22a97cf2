"""Places, of which no client has all: connections, bodies, streams and waits."""

from collections import Counter


class Places:
    """``total`` places, of which one client may have ``each``.

    An ``each`` of 0 stands for three quarters of the total. ``refused`` counts those
    for whom there was none.
    """

    def __init__(self, total: int, each: int = 0) -> None:
        self.total = total
        self.each = each or total - total // 4
        self.taken = 0
        self.refused = 0
        self._taken_by: Counter[str] = Counter()

    @property
    def full(self) -> bool:
        """Whether all are taken."""
        return self.taken >= self.total

    def has_its_share(self, client: str) -> bool:
        """Say whether a client has as many as one client may have."""
        return self._taken_by[client] >= self.each

    def take(self, client: str, unlimited: bool = False) -> bool:
        """Take a place for ``client`` and say so; to be given back with `free`.

        An ``unlimited`` client, such as a proxy for many, is bound by the total alone.
        """
        if self.full or (self.has_its_share(client) and not unlimited):
            self.refused += 1
            return False
        self.taken += 1
        self._taken_by[client] += 1
        return True

    def free(self, client: str) -> None:
        """Give a place back that ``client`` took."""
        self.taken -= 1
        self._taken_by[client] -= 1
        if not self._taken_by[client]:
            del self._taken_by[client]
