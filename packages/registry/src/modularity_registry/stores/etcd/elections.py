"""Ends calls that wait for a leader who is gone.

A member that lost its leader passes requests on to it all the same, and never answers
them. A member that hangs answers nothing, either. So a call that takes long is given up
as soon as the cluster has elected another leader, and not only when its time is over.
"""

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple, Protocol

import grpc
from pyetcd import etcdrpc as rpc  # type: ignore[import-untyped]  # has no stubs

from modularity_registry.stores.etcd.connection import Connection

LONG_SECONDS: Final = 0.5
"""A call that takes longer may be waiting for a leader who is gone."""


class Term(Protocol):
    """Knows the latest term that a reply has named."""

    term: int


class _Call(NamedTuple):
    begun: float
    term: int
    connection: Connection


class Elections:
    """Watches the calls of one pool, in a thread that the first call starts.

    The calls block: as futures, which can be cancelled, they take twice as long.
    """

    def __init__(self, cluster: Term, connections: Sequence[Connection]) -> None:
        self._cluster = cluster
        self._connections = connections
        self._calls: dict[int, _Call] = {}  # by thread
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    @contextmanager
    def watching(self, connection: Connection) -> Iterator[None]:
        """Watch the call in the block, and make it fail when it waits in vain."""
        if self._thread is None:
            self._start()
        caller = threading.get_ident()
        self._calls[caller] = _Call(time.monotonic(), self._cluster.term, connection)
        try:
            yield
        finally:
            self._calls.pop(caller, None)

    def leader_changed(self, term: int) -> bool:
        """Return whether a member has a leader of a later term than ``term``."""
        for connection in self._connections:
            try:
                status = connection.status(rpc.StatusRequest(), timeout=LONG_SECONDS)
            except (grpc.RpcError, ValueError):
                continue  # it is away, or the pool is closed
            if status.leader and status.raftTerm > term:
                return True
        return False

    def stop(self) -> None:
        """Stop watching. Idempotent."""
        self._stop.set()

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="etcd elections", daemon=True
                )
                self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(LONG_SECONDS):
            now = time.monotonic()
            # Before the first reply there is no term to compare with.
            late = [
                call
                for call in list(self._calls.values())
                if call.term and now - call.begun > LONG_SECONDS
            ]
            if late and self.leader_changed(max(call.term for call in late)):
                still_running = list(self._calls.values())
                self._end({c.connection for c in late if c in still_running})

    def _end(self, connections: Iterable[Connection]) -> None:
        for connection in connections:
            connection.reset()
            if self._stop.is_set():
                connection.close()  # the pool was closed meanwhile
