"""Tells the other replicas that this one is alive, and which heartbeats it took."""

import logging
import socket
import threading
from datetime import datetime

from modularity_registry import __version__
from modularity_registry.catalog import documents
from modularity_registry.catalog.documents import ReplicaRecord
from modularity_registry.clock import Clock
from modularity_registry.errors import StoreConflict, StoreError
from modularity_registry.replicas.membership import Membership
from modularity_registry.stores.base import Store, delete, put

log = logging.getLogger(__name__)

PERIOD = 2.0
"""Seconds between two announcements: one small write carries all heartbeats since."""

SHORT_PERIOD = 0.25
"""Seconds to the next announcement when one record could not hold all heartbeats."""

LEAVE_TIMEOUT = 1.0
"""How long (seconds) an announcement under way may delay the end."""

MAX_IDS_BYTES = 60_000
"""Bytes of ids that one record holds; every store takes values of 64 KiB."""


class Announcer:
    """Writes this replica's own record, in a thread of its own."""

    def __init__(
        self, store: Store, membership: Membership, clock: Clock, started_at: datetime
    ) -> None:
        self._store = store
        self._membership = membership
        self._key = documents.key_of_replica(membership.own)
        self._host = socket.gethostname()
        self._started_at = started_at
        self._heartbeats: dict[str, None] = {}
        self._count = 0
        self._fault: str | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="announcer", daemon=True)

    def record_heartbeat(self, service_id: str) -> None:
        """Tell the others of this service's heartbeat with the next announcement."""
        self._heartbeats[service_id] = None

    def start(self) -> None:
        """Announce this replica, then go on; raises what the store raises."""
        self.announce()
        self._thread.start()

    def stop(self) -> None:
        """Announce the last heartbeats and delete the record. Idempotent."""
        if self._stop.is_set():
            return
        self._stop.set()
        if not self._thread.is_alive():
            return
        self._thread.join(LEAVE_TIMEOUT)
        if self._fault is not None:
            return  # the others notice by themselves
        try:
            self.announce()
            delete(self._store, self._key)
        except StoreError as error:
            log.info("can't tell the other replicas of the stop: %s", error.detail)

    def announce(self) -> bool:
        """Write this replica's record; say whether heartbeats are left for the next.

        Raises what the store raises; no heartbeat is lost then.
        """
        heartbeats = self._take_heartbeats()
        record = ReplicaRecord(
            self._count + 1,
            self._host,
            __version__,
            self._started_at,
            tuple(heartbeats),
        )
        try:
            put(self._store, self._key, documents.encode_replica(record))
        except BaseException:
            for service_id in heartbeats:
                self._heartbeats[service_id] = None
            raise
        self._count += 1
        return bool(self._heartbeats)

    def delete_lost(self) -> None:
        """Delete the records of replicas that have been lost for long."""
        for replica in self._membership.to_delete():
            key = documents.key_of_replica(replica.id)
            try:
                delete(self._store, key, expected=replica.revision)
            except StoreConflict:
                log.info("replica %s is back", replica.id)

    def _take_heartbeats(self) -> list[str]:
        heartbeats: list[str] = []
        size = 0
        while self._heartbeats and size < MAX_IDS_BYTES:
            # Atomic for one key at a time, so `record_heartbeat` needs no lock.
            service_id, _ = self._heartbeats.popitem()
            heartbeats.append(service_id)
            size += len(service_id) + 3
        return heartbeats

    def _run(self) -> None:
        delay = self._membership.period
        while not self._stop.wait(delay):
            delay = self._membership.period
            try:
                if self.announce():
                    delay = min(SHORT_PERIOD, delay)
                self._set_fault(None)
                self._membership.find_lost()
                self.delete_lost()
            except StoreError as error:
                self._set_fault(error.detail)

    def _set_fault(self, fault: str | None) -> None:
        if fault and not self._fault:
            log.warning(
                "can't tell the other replicas that this one is alive: %s", fault
            )
        elif self._fault and not fault:
            log.warning("the other replicas hear again that this one is alive")
        self._fault = fault
