"""Which replicas serve this catalog, as this one sees them.

Each replica keeps one record and rewrites it every few seconds. It is alive while its
record keeps changing, by the observer's own monotonic clock: no two machines' clocks
are compared. The record also carries the ids whose heartbeats the replica took.
"""

import logging
from collections.abc import Callable
from datetime import datetime

import msgspec

from modularity_registry.catalog import documents
from modularity_registry.catalog.catalog import Catalog
from modularity_registry.catalog.documents import ReplicaRecord
from modularity_registry.clock import Clock, rfc3339
from modularity_registry.errors import StoreCorrupt
from modularity_registry.model import rendezvous
from modularity_registry.model.service import CheckEvidence, CheckResult
from modularity_registry.schema.replies import registry as replies
from modularity_registry.stores.base import Record

log = logging.getLogger(__name__)

LOST_AFTER = 3
"""A replica that missed this many announcements in a row is lost."""

DELETED_AFTER = 60
"""The record of a replica that missed this many is deleted from the store."""

MOST_ON_THEIR_WAY = 100
"""Own records that may be on their way; if older ones come back, they tell nothing."""


class Replica(msgspec.Struct, frozen=True):
    """A replica: its record, at which revision, and when (monotonic) it changed."""

    id: str
    record: ReplicaRecord
    revision: int
    seen: float
    lost: bool = False


class Membership:
    """The replicas by id. Written on the event loop, read from any thread.

    This replica itself always counts as alive. ``period`` is the time between two
    announcements (seconds). ``unwritten`` is why its own record can't be written, None
    while it can.
    """

    def __init__(self, own: str, catalog: Catalog, clock: Clock, period: float) -> None:
        self.own = own
        self.period = period
        self.unwritten: str | None = None
        self._term = LOST_AFTER * period
        # By namespace; "" is the default one.
        self._catalogs = {"": catalog}
        self._clock = clock
        # Replaced as a whole by each change, for readers in other threads.
        self._replicas: dict[str, Replica] = {}
        # When (monotonic) the writing of each own record began that is not back yet, by
        # its count; and that of the last one that came back.
        self._on_their_way: dict[int, float] = {}
        self._current_at: float | None = None
        self._self = rendezvous.Named(own)
        self._alive: tuple[rendezvous.Named, ...] = (self._self,)
        self._others: tuple[rendezvous.Named, ...] = ()
        self._listeners: list[Callable[[bool], None]] = []
        self._record_listeners: list[Callable[[str, ReplicaRecord], None]] = []

    # Reading

    @property
    def alive(self) -> tuple[str, ...]:
        """The ids of the replicas that are alive, in order; with this one's own."""
        return tuple(replica.id for replica in self._alive)

    @property
    def is_alone(self) -> bool:
        """Whether no other replica is alive."""
        return len(self._alive) == 1

    def heartbeat_grace(self, ttl: float) -> float:
        """Return for how long (seconds) after its term a lease is not ended.

        0 if this replica is alone. Otherwise news of a heartbeat may come late, and
        none comes from a replica that hangs, until it is missed and each lease gets a
        full term. So a short lease has more of it.
        """
        if self.is_alone:
            return 0.0
        return max(2 * self.period, (LOST_AFTER + 1) * self.period - ttl)

    def owner(self, service_id: str) -> str:
        """Return the id of the replica that watches over a service."""
        alive = self._alive
        if len(alive) == 1:
            return alive[0].id
        return rendezvous.pick(service_id, alive).id

    def owns(self, service_id: str) -> bool:
        """Return whether this replica is the `owner` of a service; in less time."""
        others = self._others
        return not others or rendezvous.is_picked(service_id, self._self, others)

    def witnesses(self) -> frozenset[str]:
        """Return the replicas whose checks tell more than this one's own.

        They are alive, on other hosts than this one, and answer questions.
        """
        own = self._replicas.get(self.own)
        if own is None:
            return frozenset()
        return frozenset(
            replica.id
            for replica in self._replicas.values()
            if replica.record.confirm > 1
            and replica.record.host != own.record.host
            and not replica.lost
        )

    def own_record_age(self) -> float | None:
        """Return how old (seconds) the view may be: all that is older has arrived.

        That is the time since this replica began to write the last of its own records
        that came back from the store, or since it read the whole store. None before.
        """
        at = self._current_at
        return None if at is None else self._clock.monotonic() - at

    def overdue_seconds(self) -> float | None:
        """Return `own_record_age` if it is too high for a current view, else None."""
        age = self.own_record_age()
        return None if age is None or age < self._term else age

    def states(self) -> list[replies.Replica]:
        """Return all replicas: this one, those alive, then the lost until deleted."""
        now = self._clock.monotonic()
        replicas = sorted(
            self._replicas.values(),
            key=lambda replica: (replica.id != self.own, replica.lost, replica.id),
        )
        return [
            replies.Replica(
                replica.id,
                "lost" if replica.lost else "alive",
                round(now - replica.seen, 3),
                replica.record.host,
                replica.record.version,
                rfc3339(replica.record.started_at),
                replica.id == self.own,
                replica.record.address or msgspec.UNSET,
            )
            for replica in replicas
        ]

    def to_delete(self) -> list[Replica]:
        """Return the lost replicas whose records this one should delete."""
        now = self._clock.monotonic()
        if min(self.alive) != self.own:
            return []
        return [
            replica
            for replica in self._replicas.values()
            if replica.lost and now - replica.seen >= DELETED_AFTER * self.period
        ]

    # Writing

    def listen(self, listener: Callable[[bool], None]) -> None:
        """Call ``listener`` when the living change, with True if a replica was lost."""
        self._listeners.append(listener)

    def add_namespace(self, name: str, catalog: Catalog) -> None:
        """Take heartbeats in a namespace for ``catalog``. Before the start only."""
        self._catalogs[name] = catalog

    def listen_to_records(self, listener: Callable[[str, ReplicaRecord], None]) -> None:
        """Call ``listener`` with each record that another replica writes."""
        self._record_listeners.append(listener)

    def announcing(self, count: int) -> None:
        """Take note that the own record of this ``count`` is about to be written."""
        self._on_their_way[count] = self._clock.monotonic()
        if len(self._on_their_way) > MOST_ON_THEIR_WAY:
            del self._on_their_way[min(self._on_their_way)]

    def loaded(self, records: list[Record]) -> None:
        """Replace all records, and give every replica a full term. For the feed."""
        now = self._clock.monotonic()
        replicas = {}
        for record in records:
            replica = self._read(record.key, record.value, record.revision, now)
            if replica is not None:
                replicas[replica.id] = replica
        self._replicas = replicas
        if self.own in replicas:
            self._current_at = now
        self._update_alive(any_lost=False)
        for replica in replicas.values():
            self._tell(replica)

    def changed(self, key: str, value: bytes | None, revision: int) -> None:
        """Take one change of a record. For the feed."""
        now = self._clock.monotonic()
        replica_id = key[len(documents.REPLICAS) :]
        if replica_id == self.own and self.overdue_seconds() is not None:
            self.renew()
        before = self._replicas.get(replica_id)
        if before is not None and before.lost:
            log.info("replica %s is back", replica_id)
        replica = None if value is None else self._read(key, value, revision, now)
        if replica is not None:
            self._replicas = {**self._replicas, replica_id: replica}
        elif value is None:
            self._replicas = {
                k: v for k, v in self._replicas.items() if k != replica_id
            }
        if replica is not None and replica_id == self.own:
            self._came_back(replica.record.count)
        elif replica is not None:
            self._record_heartbeats(replica.record.heartbeats, now)
        # One that stops in order has announced all heartbeats that it took.
        self._update_alive(any_lost=False)
        if replica is not None:
            self._tell(replica)

    def find_lost(self) -> None:
        """Find the replicas that are lost; none while this one's view is stale."""
        now = self._clock.monotonic()
        if self.own_record_age() is None or self.overdue_seconds() is not None:
            return
        lost = {
            key: msgspec.structs.replace(replica, lost=True)
            for key, replica in self._replicas.items()
            if key != self.own and not replica.lost and now - replica.seen >= self._term
        }
        self._replicas = {**self._replicas, **lost}
        for key in sorted(lost):
            log.warning("replica %s is lost; the others take over its services", key)
        self._update_alive(any_lost=bool(lost))

    def renew(self) -> None:
        """Give every replica that is alive, and every lease, a full term from now on.

        For when their signs of life may not have arrived. How old the view is stays as
        it was: only the own record, when it comes back, tells that.
        """
        now = self._clock.monotonic()
        self._replicas = {
            key: replica if replica.lost else msgspec.structs.replace(replica, seen=now)
            for key, replica in self._replicas.items()
        }
        for catalog in self._catalogs.values():
            catalog.renew_leases()

    def _came_back(self, count: int) -> None:
        began = self._on_their_way.get(count)
        if began is not None:
            self._current_at = began
            self._on_their_way = {
                each: at for each, at in self._on_their_way.items() if each > count
            }

    def _update_alive(self, any_lost: bool) -> None:
        ids = {key for key, replica in self._replicas.items() if not replica.lost}
        alive = tuple(rendezvous.Named(key) for key in sorted({*ids, self.own}))
        if alive != self._alive:
            self._alive = alive
            self._others = tuple(each for each in alive if each.id != self.own)
            for listener in self._listeners:
                listener(any_lost)

    def _tell(self, replica: Replica) -> None:
        if replica.id != self.own:
            for listener in self._record_listeners:
                listener(replica.id, replica.record)

    def _record_heartbeats(self, ids: tuple[str, ...], now: float) -> None:
        at: datetime = self._clock.now()
        for key in ids:
            namespace, _, name = key.rpartition("/")
            service_id, _, check = name.partition("#")
            catalog = self._catalogs.get(namespace)
            entry = catalog.service(service_id) if catalog is not None else None
            if entry is None:
                continue
            if check:
                entry.record_report(check, now, _reported(at))
            else:
                entry.record_heartbeat(at, now)

    def _read(
        self, key: str, value: bytes, revision: int, now: float
    ) -> Replica | None:
        try:
            record = documents.decode_replica(key, value)
        except StoreCorrupt as error:
            log.error("unreadable record: %s", error.detail)
            return None
        return Replica(key[len(documents.REPLICAS) :], record, revision, now)


def _reported(at: datetime) -> CheckResult:
    """Return all that is known here of a report that another replica took."""
    evidence = CheckEvidence(at, None, "reported", "to another replica", None, None)
    return CheckResult(0, evidence)
