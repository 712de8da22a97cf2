"""What became of each service in the last hour: its changes of status, bounded."""

from collections import OrderedDict
from collections.abc import Collection
from datetime import datetime, timedelta

import msgspec

from modularity_registry.catalog.catalog import Additions, Transition
from modularity_registry.catalog.entry import Entry
from modularity_registry.clock import Clock
from modularity_registry.model.service import Service, Status
from modularity_registry.model.status import reason, status

KEPT = timedelta(hours=1)
"""Changes are kept for so long."""

PER_SERVICE = 60
"""So many changes are kept of one service, the latest."""

OVERALL = 100_000
"""So many are kept of all; the service that was quiet for longest loses its own."""

REGISTERED_AGAIN = "registered again"


class StatusChange(msgspec.Struct, frozen=True, gc=False):
    """A status and when it began; ``reason`` is None where nothing was wrong."""

    at: datetime
    status: Status
    reason: str | None


class History:
    """The changes of status by service. The feed writes, any thread reads.

    A service that never changed takes no place here: what it is now says it all.
    """

    def __init__(
        self, clock: Clock, per_service: int = PER_SERVICE, overall: int = OVERALL
    ) -> None:
        self._clock = clock
        self._per_service = per_service
        self._overall = overall
        self._changes: OrderedDict[str, tuple[StatusChange, ...]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def of(self, entry: Entry) -> list[StatusChange]:
        """Return how the service's status went within the last hour, oldest first.

        The first one may be older: it is what held when the hour began, unless there
        were more changes than are kept. The last one is the present status.
        """
        begun = self._clock.now() - KEPT
        changes = list(self._changes.get(entry.id, ()))
        if not changes or changes[-1].status != entry.status:
            changes.append(_last_change(entry.service))
        older = sum(change.at <= begun for change in changes)
        return changes[max(0, older - 1) :]

    def changed(self, change: Transition) -> None:
        """Take note of one change. For the feed."""
        old, new = change.old, change.new
        if new is None:
            self._forget(change.id)
        elif old is not None and old.status != new.status:
            self._note(old, new)

    def reloaded(self, changes: Collection[Transition], revision: int) -> None:
        """Take note of what differs since the catalog was last current."""
        if isinstance(changes, Additions):
            return  # none of them had another status before
        for change in changes:
            self.changed(change)

    def advanced(self, revision: int) -> None:
        """Nothing to take note of."""

    def _note(self, old: Entry, new: Entry) -> None:
        latest = _last_change(new.service)
        if old.registered_at != new.registered_at:
            latest = msgspec.structs.replace(latest, reason=REGISTERED_AGAIN)
        before = self._changes.get(new.id) or (_last_change(old.service),)
        after = (*before, latest)[-self._per_service :]
        self._count += len(after) - len(self._changes.get(new.id, ()))
        self._changes[new.id] = after
        self._changes.move_to_end(new.id)
        while self._count > self._overall:
            self._forget(next(iter(self._changes)))

    def _forget(self, service_id: str) -> None:
        self._count -= len(self._changes.pop(service_id, ()))


def _last_change(service: Service) -> StatusChange:
    return StatusChange(service.since, status(service), reason(service))
