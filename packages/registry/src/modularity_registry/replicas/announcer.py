"""Tells the other replicas that this one is alive, and which heartbeats it took."""

import logging
import socket
import threading
from datetime import datetime

from modularity_registry import __version__
from modularity_registry.catalog import documents
from modularity_registry.catalog.documents import Beat
from modularity_registry.clock import Clock
from modularity_registry.errors import StoreConflict, StoreError
from modularity_registry.replicas.membership import Roster
from modularity_registry.stores.base import Store

log = logging.getLogger(__name__)

PERIOD = 2.0
"""Seconds between two beats: one small write carries all heartbeats since."""

HURRIED = 0.25
"""Seconds to the next beat when one record could not hold them all."""

FAREWELL_SECONDS = 1.0
"""How long a beat that is under way may delay the end."""

LARGEST = 60_000
"""Bytes of ids that one record holds; every store takes values of 64 KiB."""


class Beacon:
    """Writes this replica's own record, in a thread of its own."""

    def __init__(
        self, store: Store, roster: Roster, clock: Clock, started_at: datetime
    ) -> None:
        self._store = store
        self._roster = roster
        self._key = documents.key_of_replica(roster.own)
        self._host = socket.gethostname()
        self._started_at = started_at
        self._sighted: dict[str, None] = {}
        self._count = 0
        self._fault: str | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="beacon", daemon=True)

    @property
    def beats(self) -> int:
        """How many beats this replica has written."""
        return self._count

    def sighted(self, service_id: str) -> None:
        """Have the others told, with the next beat, that a service gave a sign."""
        self._sighted[service_id] = None

    def start(self) -> None:
        """Write the first beat, raises what the store raises; then go on."""
        self.beat()
        self._thread.start()

    def stop(self) -> None:
        """Hand over what was sighted and leave. Idempotent."""
        if self._stop.is_set():
            return
        self._stop.set()
        if not self._thread.is_alive():
            return
        self._thread.join(FAREWELL_SECONDS)
        if self._fault is not None:
            return  # the others find out by themselves
        try:
            self.beat()
            self._store.delete(self._key)
        except StoreError as error:
            log.info("could not take leave of the other replicas: %s", error.detail)

    def beat(self) -> bool:
        """Write one beat; say whether there is more to tell than it could hold.

        Raises what the store raises; nothing sighted is forgotten then.
        """
        taken = self._take()
        beat = Beat(
            self._count + 1, self._host, __version__, self._started_at, tuple(taken)
        )
        try:
            self._store.put(self._key, documents.encode_beat(beat))
        except BaseException:
            for service_id in taken:
                self._sighted[service_id] = None
            raise
        self._count += 1
        return bool(self._sighted)

    def strike(self) -> None:
        """Remove the records of replicas that are long lost."""
        for member in self._roster.forgotten():
            key = documents.key_of_replica(member.id)
            try:
                self._store.delete(key, expected=member.revision)
            except StoreConflict:
                log.info("replica %s is back", member.id)

    def _take(self) -> list[str]:
        taken: list[str] = []
        size = 0
        while self._sighted and size < LARGEST:
            # Atomic for one key at a time, so `sighted` needs no lock.
            service_id, _ = self._sighted.popitem()
            taken.append(service_id)
            size += len(service_id) + 3
        return taken

    def _run(self) -> None:
        delay = self._roster.period
        while not self._stop.wait(delay):
            delay = self._roster.period
            try:
                if self.beat():
                    delay = min(HURRIED, delay)
                self._note(None)
                self._roster.judge()
                self.strike()
            except StoreError as error:
                self._note(error.detail)

    def _note(self, fault: str | None) -> None:
        if fault and not self._fault:
            log.warning("this replica can't tell the others that it lives: %s", fault)
        elif self._fault and not fault:
            log.warning("this replica tells the others again that it lives")
        self._fault = fault
