"""Reads etcd's watch, a stream that is checked every second."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import zip_longest
from typing import Any, Final

import grpc

from modularity_registry.errors import StoreUnavailable
from modularity_registry.stores.base import Change, Snapshot
from modularity_registry.stores.etcd.cluster import Cluster, ConnectionPool
from modularity_registry.stores.etcd.epoch import EpochTracker
from modularity_registry.stores.reconnecting_watch import Gap

CHECK_SECONDS: Final = 1.0


class FeedSession:
    """Reads one watch over its own connections, so that an interrupt can end them."""

    def __init__(self, cluster: Cluster, tracker: EpochTracker) -> None:
        self._pool = ConnectionPool(cluster)
        self._tracker = tracker
        self._epoch = ""
        self._revision = 0

    def snapshot(self) -> Snapshot:
        self._epoch, snapshot = self._tracker.snapshot(self._pool)
        self._revision = snapshot.revision
        return snapshot

    def changes(self) -> Iterator[Change | None]:
        layout = self._tracker.layout
        first = layout.watch(self._revision + 1)
        term = self._pool.cluster.term

        def leader_changed() -> bool:
            return self._pool.leader_changed(term)

        requests = _Requests(
            first, layout.check(), self._pool.cluster.timeout, leader_changed
        )
        member, stream = self._pool.stream(requests)
        requests.stream = stream
        try:
            watch = None
            for response in stream:
                requests.pause_checks()
                watch = response.watch_id if watch is None else watch
                if response.watch_id == watch:
                    self._require_running(response)
                    yield from self._changes(response.events)
                elif not response.canceled:
                    requests.next = layout.unwatch(response.watch_id)
                yield None
                self._pool.cluster.note_term(response)
                term = self._pool.cluster.term
                self._tracker.note_revision(self._epoch, response.header.revision)
                requests.resume_checks()
        except grpc.RpcError as error:
            failure = self._pool.failure(error, member)
            raise requests.timeout_error(self._pool.cluster) or failure from error
        finally:
            requests.end()
            stream.cancel()

    def interrupt(self) -> None:
        self._pool.close()

    def close(self) -> None:
        self._pool.close()

    def _require_running(self, response: Any) -> None:
        if response.compact_revision:
            raise Gap(f"etcd has compacted all before {response.compact_revision}")
        if response.canceled:
            self._pool.cluster.drop_token()
            raise StoreUnavailable(
                f"etcd at {self._pool.cluster.server} ended the watch:"
                f" {response.cancel_reason or 'no reason given'}"
            )

    def _changes(self, events: Iterable[Any]) -> list[Change]:
        """Return the changes of records; etcd sends whole revisions."""
        layout = self._tracker.layout
        writes: list[tuple[str, bytes | None, int]] = []
        for event in events:
            pair = event.kv
            name, deleted = pair.key, event.type == event.DELETE
            if name == layout.epoch and (deleted or pair.value != self._epoch.encode()):
                raise Gap("the store was wiped")
            key = layout.key(name)
            if key is not None:
                value = None if deleted else pair.value
                writes.append((key, value, pair.mod_revision))
        following = [revision for _, _, revision in writes[1:]]
        return [
            Change(key, value, revision, revision != next_revision)
            for (key, value, revision), next_revision in zip_longest(writes, following)
        ]


class _Requests:
    """The requests of the stream: the watch first, then a check every second.

    gRPC iterates over it in a thread of its own. Only this iterator notices when etcd
    stops answering.
    """

    def __init__(
        self,
        first: Any,
        check: Any,
        timeout: float,
        leader_changed: Callable[[], bool],
    ) -> None:
        self.stream: Any = None
        self.next: Any = None  # instead of the next check
        self._first = [first]
        self._check = check
        self._timeout = timeout
        self._leader_changed = leader_changed
        self._ended = threading.Event()
        self._timed_out = False
        # Off while the watcher handles a response: checks would only pile up.
        self._checking = True
        self._unanswered_since: float | None = None

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self._first:
            return self._first.pop()
        while not self._ended.wait(CHECK_SECONDS):
            if not self._checking:
                continue
            now = time.monotonic()
            if self._unanswered_since is None:
                self._unanswered_since = now
            elif now - self._unanswered_since > self._timeout or self._leader_changed():
                self._timed_out = True
                self.stream.cancel()
                break
            request, self.next = self.next or self._check, None
            return request
        raise StopIteration

    def pause_checks(self) -> None:
        """Call it when a response has come."""
        self._checking = False
        self._unanswered_since = None

    def resume_checks(self) -> None:
        """Call it when the watcher has handled the response."""
        self._unanswered_since = None
        self._checking = True

    def end(self) -> None:
        self._ended.set()

    def timeout_error(self, cluster: Cluster) -> StoreUnavailable | None:
        """Return the error if the stream ended because etcd did not answer."""
        if not self._timed_out:
            return None
        return StoreUnavailable(
            f"etcd at {cluster.server} does not answer the watch any more"
        )
