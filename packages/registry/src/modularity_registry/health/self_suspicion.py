"""Whether so many fail together that the registry should doubt its own network."""

from collections import Counter

from modularity_registry.health.watched_service import WatchedService
from modularity_registry.model import status


class _Groups:
    """Services that were good so far, by host or by owner; most of a group decide."""

    def __init__(self) -> None:
        self._good: Counter[str] = Counter()
        self._failing: Counter[str] = Counter()
        self.failing = 0

    def __len__(self) -> int:
        return len(self._good)

    def count(self, group: str, good: int, failing: int) -> None:
        self.failing -= self._fails(group)
        self._good[group] += good
        self._failing[group] += failing
        self.failing += self._fails(group)
        if not self._good[group]:
            del self._good[group], self._failing[group]

    def _fails(self, group: str) -> bool:
        return self._failing[group] * 2 > self._good[group]


class SelfSuspicion:
    """Counts the hosts and the owners most of whose services fail.

    Only services count that were good so far. Who has no owner is counted by the host.
    """

    def __init__(self) -> None:
        self._hosts = _Groups()
        self._owners = _Groups()

    def count(self, watched: WatchedService, step: int) -> None:
        """Take a service in as it is now (``step`` 1), or out (-1)."""
        if watched.good and not watched.gone:
            good, failing = step, step * watched.failing
            self._hosts.count(watched.host, good, failing)
            self._owners.count(watched.owner or watched.host, good, failing)

    @property
    def possible(self) -> bool:
        """Whether there are enough hosts for their failures to prove anything."""
        return len(self._hosts) >= status.SUSPICION_MINIMUM

    @property
    def active(self) -> bool:
        """Whether the fault is likely with this registry or its network."""
        hosts, owners = self._hosts, self._owners
        return status.suspicious(hosts.failing, len(hosts)) and (
            owners.failing * 2 > len(owners)
        )

    @property
    def reason(self) -> str | None:
        """What `active` rests on, for people; None when it is not."""
        if not self.active:
            return None
        return (
            f"most services of {self._hosts.failing} of {len(self._hosts)} hosts fail"
            " their checks together, so the fault may lie with this registry or its"
            " network: no service that has passed a check becomes unhealthy until at"
            " most half of the hosts fail; unregister those that are gone"
        )
