"""Who listens to what."""

from modularity_registry.events.event import INVOKED, Event
from modularity_registry.events.interest import Interest, Name, names_of
from modularity_registry.events.listener import Group, Listener

Index = dict[Name, set[Group]]


class Groups:
    """All groups of listeners, and an index of them for each sort of event.

    Whoever does not want reports of calls is not in the index that these are looked
    up in.
    """

    def __init__(self) -> None:
        self._open: dict[Interest, Group] = {}
        self.changes: Index = {}
        self.calls: Index = {}

    def join(self, listener: Listener, number: int, quiet: bool) -> None:
        """Have a listener hear of all events after ``number``.

        ``quiet`` says that every event up to there was handed to the groups.
        """
        group = self._open.get(listener.interest)
        if group is None or group.pending or not quiet:
            group = self._open[listener.interest] = Group(listener.interest, number)
            for name in group.interest.names:
                for index in self._indexes(group.interest):
                    index.setdefault(name, set()).add(group)
        group.members.add(listener)
        listener.group = group
        listener.interest = group.interest  # one of each is enough

    def leave(self, listener: Listener) -> None:
        """Take a listener out of its group, if it is in one."""
        group, listener.group = listener.group, None
        if group is None:
            return
        group.members.discard(listener)
        if group.members:
            return
        if self._open.get(group.interest) is group:
            del self._open[group.interest]
        for index in self._indexes(group.interest):
            for name in group.interest.names:
                groups = index[name]
                groups.discard(group)
                if not groups:
                    del index[name]

    def drop_pending(self) -> None:
        """Forget what was handed to the groups and not told."""
        for index in (self.changes, self.calls):
            for groups in index.values():
                for group in groups:
                    group.pending.clear()

    def find(self, event: Event) -> set[Group]:
        """Return whom an event concerns."""
        index = self.calls if event.kind == INVOKED else self.changes
        concerned: set[Group] = set()
        for name in names_of(event):
            groups = index.get(name)
            if groups is not None:
                concerned |= groups
        kind = event.kind
        return {
            group
            for group in concerned
            if group.since < event.number
            and (not group.interest.kinds or kind in group.interest.kinds)
        }

    def _indexes(self, interest: Interest) -> list[Index]:
        indexes = []
        if interest.wants_changes:
            indexes.append(self.changes)
        if interest.wants_calls:
            indexes.append(self.calls)
        return indexes
