"""Reads etcd's watch: a stream that is asked every second whether it is alive."""

import threading
import time
from collections.abc import Iterator
from typing import Any, Final

import grpc

from modularity_registry.errors import StoreUnavailable
from modularity_registry.stores.base import Change, Snapshot
from modularity_registry.stores.etcd.cluster import Cluster, Lines
from modularity_registry.stores.etcd.epoch import History
from modularity_registry.stores.reconnecting_watch import Gap

PULSE_SECONDS: Final = 1.0


class FeedSession:
    """Follows one watch, on lines of its own, so that an interrupt can end them."""

    def __init__(self, cluster: Cluster, history: History) -> None:
        self._lines = Lines(cluster)
        self._history = history
        self._epoch = ""
        self._revision = 0

    def snapshot(self) -> Snapshot:
        self._epoch, snapshot = self._history.snapshot(self._lines)
        self._revision = snapshot.revision
        return snapshot

    def changes(self) -> Iterator[Change | None]:
        keys = self._history.keys
        first = keys.watch(self._revision + 1)
        requests = _Requests(first, keys.pulse(), self._lines.cluster.timeout)
        member, stream = self._lines.stream(requests)
        requests.stream = stream
        try:
            watch = None
            for response in stream:
                requests.heard()
                watch = response.watch_id if watch is None else watch
                if response.watch_id == watch:
                    self._require_going(response)
                    yield from map(self._change, response.events)
                elif not response.canceled:
                    requests.next = keys.unwatch(response.watch_id)
                yield None
                self._history.saw(self._epoch, response.header.revision)
                requests.wait()
        except grpc.RpcError as error:
            failure = self._lines.failure(error, member)
            raise requests.silence(self._lines.cluster) or failure from error
        finally:
            requests.end()
            stream.cancel()

    def interrupt(self) -> None:
        self._lines.close()

    def close(self) -> None:
        self._lines.close()

    def _require_going(self, response: Any) -> None:
        if response.compact_revision:
            raise Gap(f"etcd has forgotten all before {response.compact_revision}")
        if response.canceled:
            self._lines.cluster.renew_token()
            raise StoreUnavailable(
                f"etcd at {self._lines.cluster.server} ended the watch:"
                f" {response.cancel_reason or 'it gave no reason'}"
            )

    def _change(self, event: Any) -> Change | None:
        pair, deleted = event.kv, event.type == event.DELETE
        if pair.key == self._history.keys.epoch:
            if deleted or pair.value != self._epoch.encode():
                raise Gap("the store was wiped")
            return None
        key = self._history.keys.key(pair.key)
        if key is None:
            return None
        return Change(key, None if deleted else pair.value, pair.mod_revision)


class _Requests:
    """What goes up the stream: the wish to watch, then a question now and then.

    gRPC takes from it in a thread of its own, which so keeps the watch: nothing but
    this iterator notices that an answer stays away.
    """

    def __init__(self, first: Any, pulse: Any, patience: float) -> None:
        self.stream: Any = None
        self.next: Any = None  # in place of the next pulse
        self._first = [first]
        self._pulse = pulse
        self._patience = patience
        self._ended = threading.Event()
        self._silent = False
        # While the watcher works it isn't the server that keeps silent, and questions
        # would only pile up.
        self._waiting = True
        self._asked: float | None = None  # since when there was no answer

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self._first:
            return self._first.pop()
        while not self._ended.wait(PULSE_SECONDS):
            if not self._waiting:
                continue
            now = time.monotonic()
            if self._asked is None:
                self._asked = now
            elif now - self._asked > self._patience:
                self._silent = True
                self.stream.cancel()
                break
            request, self.next = self.next or self._pulse, None
            return request
        raise StopIteration

    def heard(self) -> None:
        """Something came, and the watcher works on it."""
        self._waiting = False
        self._asked = None

    def wait(self) -> None:
        """The watcher is ready for more."""
        self._asked = None
        self._waiting = True

    def end(self) -> None:
        self._ended.set()

    def silence(self, cluster: Cluster) -> StoreUnavailable | None:
        """Return the error that says so, if that is why the stream was ended."""
        if not self._silent:
            return None
        return StoreUnavailable(
            f"etcd at {cluster.server} has said nothing for {self._patience:g} s"
        )
