"""Who else serves this catalog: the replicas, as this one sees them.

Each replica keeps one record and rewrites it every few seconds. It is alive while its
record keeps changing, by the observer's own monotonic clock: no two machines' clocks
are compared. The record also carries the ids whose heartbeats the replica took.
"""

import logging
import threading
from collections.abc import Callable
from datetime import datetime

import msgspec

from modularity_registry.catalog import documents
from modularity_registry.catalog.catalog import Catalog
from modularity_registry.catalog.documents import Beat
from modularity_registry.clock import Clock, rfc3339
from modularity_registry.errors import StoreCorrupt
from modularity_registry.model import rendezvous
from modularity_registry.stores.base import Record

log = logging.getLogger(__name__)

LOST_BEATS = 3
"""A replica that missed this many beats in a row is lost."""

FORGET_BEATS = 60
"""A replica that missed this many is struck from the store."""


class Member(msgspec.Struct, frozen=True):
    """A replica: its record, at which revision, and when (monotonic) it changed."""

    id: str
    beat: Beat
    revision: int
    seen: float


class Seen(msgspec.Struct, frozen=True, gc=False):
    """A replica as the HTTP API shows it; ``seen`` is seconds ago."""

    id: str
    state: str
    seen: float
    host: str
    version: str
    started_at: str
    self: bool


class Roster:
    """The replicas by id. The feed's thread writes, any thread reads.

    This replica itself is always among the living. ``period`` is the time between two
    beats (seconds).
    """

    def __init__(self, own: str, catalog: Catalog, clock: Clock, period: float) -> None:
        self.own = own
        self.period = period
        self._term = LOST_BEATS * period
        self._catalog = catalog
        self._clock = clock
        self._lock = threading.Lock()
        self._members: dict[str, Member] = {}
        self._lost: frozenset[str] = frozenset()
        self._alive: tuple[rendezvous.Named, ...] = (rendezvous.Named(own),)
        self._listeners: list[Callable[[bool], None]] = []

    # Reading

    @property
    def alive(self) -> tuple[str, ...]:
        """The ids of the replicas that are alive, in order; with this one's own."""
        return tuple(each.id for each in self._alive)

    @property
    def slack(self) -> float:
        """Seconds by which the news of a heartbeat may come late: none if alone."""
        return 2 * self.period if len(self._alive) > 1 else 0.0

    def owner(self, service_id: str) -> str:
        """Return the id of the replica that watches over a service."""
        alive = self._alive
        if len(alive) == 1:
            return alive[0].id
        return rendezvous.pick(service_id, alive).id

    def own_record_age(self) -> float | None:
        """Return the seconds since this replica's own record came back from the store.

        None if it never did.
        """
        own = self._members.get(self.own)
        return None if own is None else self._clock.monotonic() - own.seen

    def overdue_seconds(self) -> float | None:
        """Return `own_record_age` if it is too high for a current view, else None."""
        age = self.own_record_age()
        return None if age is None or age < self._term else age

    def seen(self) -> list[Seen]:
        """Return all replicas: this one, the living, then the lost until struck."""
        now = self._clock.monotonic()
        with self._lock:
            members, lost = sorted(self._members.items()), self._lost
        members.sort(key=lambda item: (item[0] != self.own, item[0] in lost))
        return [
            Seen(
                key,
                "lost" if key in lost else "alive",
                round(now - each.seen, 3),
                each.beat.host,
                each.beat.version,
                rfc3339(each.beat.started_at),
                key == self.own,
            )
            for key, each in members
        ]

    def forgotten(self) -> list[Member]:
        """Return those whose records should go, if it is for this replica to do it."""
        now = self._clock.monotonic()
        if min(self.alive) != self.own:
            return []
        with self._lock:
            return [
                self._members[key]
                for key in self._lost
                if now - self._members[key].seen >= FORGET_BEATS * self.period
            ]

    # Writing

    def listen(self, listener: Callable[[bool], None]) -> None:
        """Call ``listener`` when the living change; True when somebody was lost."""
        self._listeners.append(listener)

    def loaded(self, found: list[Record]) -> None:
        """Take all records anew: everyone gets a full term. For the feed."""
        now = self._clock.monotonic()
        members = {}
        for record in found:
            member = self._read(record.key, record.value, record.revision, now)
            if member is not None:
                members[member.id] = member
        with self._lock:
            self._members = members
            self._lost = frozenset()
        self._reckon(fell=False)

    def changed(self, key: str, value: bytes | None, revision: int) -> None:
        """Take one change of a record. For the feed."""
        now = self._clock.monotonic()
        replica_id = key[len(documents.REPLICAS) :]
        if replica_id == self.own and self.overdue_seconds() is not None:
            self._after_gap(now)
        member = None if value is None else self._read(key, value, revision, now)
        with self._lock:
            is_back = member is not None and replica_id in self._lost
            if member is not None:
                self._members[replica_id] = member
            elif value is None:
                self._members.pop(replica_id, None)
            self._lost -= {replica_id}
        if is_back:
            log.info("replica %s is back", replica_id)
        if member is not None and replica_id != self.own:
            self._sight(member.beat.sighted, now)
        # One that leaves in order has handed over all that it took.
        self._reckon(fell=False)

    def judge(self) -> None:
        """Find out who is lost. By a view that is not fresh nobody is."""
        now = self._clock.monotonic()
        if self.own_record_age() is None or self.overdue_seconds() is not None:
            return
        with self._lock:
            lost = frozenset(
                key
                for key, each in self._members.items()
                if key != self.own and now - each.seen >= self._term
            )
            fell = lost - self._lost
            self._lost = lost
        for key in sorted(fell):
            log.warning("replica %s is lost; its share is taken over", key)
        self._reckon(fell=bool(fell))

    def _after_gap(self, now: float) -> None:
        """Give everyone a full term: what they said meanwhile may not have come."""
        with self._lock:
            for key, member in self._members.items():
                self._members[key] = msgspec.structs.replace(member, seen=now)
        self._catalog.renew_leases()

    def _reckon(self, fell: bool) -> None:
        with self._lock:
            living = {*self._members, self.own} - self._lost
            alive = tuple(rendezvous.Named(each) for each in sorted(living))
            same = alive == self._alive
            self._alive = alive
        if not same:
            for listener in self._listeners:
                listener(fell)

    def _sight(self, ids: tuple[str, ...], now: float) -> None:
        at: datetime = self._clock.now()
        for service_id in ids:
            entry = self._catalog.service(service_id)
            if entry is not None:
                entry.beaten(at, now)

    def _read(self, key: str, value: bytes, revision: int, now: float) -> Member | None:
        try:
            beat = documents.decode_beat(key, value)
        except StoreCorrupt as error:
            log.error("unreadable record: %s", error.detail)
            return None
        return Member(key[len(documents.REPLICAS) :], beat, revision, now)
