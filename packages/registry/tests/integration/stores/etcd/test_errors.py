"""gRPC's errors stop at the store: what each becomes, and what is asked again."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from pyetcd import etcdrpc as rpc  # type: ignore[import-untyped]  # has no stubs

from modularity_registry.errors import (
    OutcomeUnknown,
    StoreCorrupt,
    StoreError,
    StoreUnavailable,
)
from modularity_registry.stores.base import Lost, delete, put
from modularity_registry.stores.conformance.recorder import Recorder
from modularity_registry.stores.etcd.store import EtcdStore
from modularity_registry.stores.server_url import Host, Server
from support.servers.stores.etcd import HOST

Code = grpc.StatusCode
UNKNOWN = "may or may not have been made"
WORDS = "etcdserver: words of its own"


class Refusing(rpc.KVServicer, rpc.WatchServicer):  # type: ignore[misc]  # no stubs
    """Speaks for an etcd that holds nothing but an epoch, and may fail to."""

    def __init__(self) -> None:
        self.port = 0
        self.failure: tuple[grpc.StatusCode, str] | None = None
        self.cancelled: dict[str, Any] = {}
        self.asked: list[str] = []

    def Range(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._ask("Range", context)
        epoch = rpc.RangeResponse().kvs.add(key=b"modularity/epoch", value=b"0" * 12)
        header = rpc.ResponseHeader(revision=7)
        return rpc.RangeResponse(header=header, kvs=[epoch], count=1)

    def Txn(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._ask("Txn", context)
        put = {"succeeded": True, "responses": [{"response_put": {}}]}
        return rpc.TxnResponse(
            header=rpc.ResponseHeader(revision=8),
            succeeded=True,
            responses=[{"response_txn": put} for _ in request.success],
        )

    def Watch(self, requests: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        self._ask("Watch", context)
        next(requests)
        yield rpc.WatchResponse(created=True)
        for _ in requests:
            self._ask("Watch", context)
            yield rpc.WatchResponse(**self.cancelled)

    def _ask(self, name: str, context: grpc.ServicerContext) -> None:
        self.asked.append(name)
        if self.failure is not None:
            context.abort(*self.failure)


@contextmanager
def refusing() -> Iterator[Refusing]:
    servicer = Refusing()
    with ThreadPoolExecutor(8) as pool:
        server = grpc.server(pool)
        rpc.add_KVServicer_to_server(servicer, server)
        rpc.add_WatchServicer_to_server(servicer, server)
        servicer.port = server.add_insecure_port(f"{HOST}:0")
        server.start()
        try:
            yield servicer
        finally:
            server.stop(None).wait(10)


@pytest.fixture
def first() -> Iterator[Refusing]:
    with refusing() as servicer:
        yield servicer


@pytest.fixture
def second() -> Iterator[Refusing]:
    with refusing() as servicer:
        yield servicer


def opened(*servicers: Refusing) -> EtcdStore:
    return EtcdStore(Server(tuple(Host(HOST, one.port) for one in servicers)), 2.0)


@pytest.fixture
def store(first: Refusing) -> Iterator[EtcdStore]:
    store = opened(first)
    yield store
    store.close()


@pytest.fixture
def pair(first: Refusing, second: Refusing) -> Iterator[EtcdStore]:
    store = opened(first, second)
    yield store
    store.close()


@pytest.mark.parametrize("code", [code for code in Code if code is not Code.OK])
def test_no_error_of_the_driver_leaves_the_store(
    store: EtcdStore, first: Refusing, code: grpc.StatusCode
) -> None:
    first.failure = code, WORDS
    calls: list[Callable[[], object]] = [
        lambda: put(store, "services/a", b""),
        lambda: put(store, "services/a", b"", expected=7),
        lambda: delete(store, "services/a"),
        lambda: store.watch(Recorder()),
        store.ping,
        lambda: opened(first),
    ]
    for call in calls:
        with pytest.raises(StoreError) as caught:
            call()
        damaged = code is Code.DATA_LOSS
        assert isinstance(caught.value, StoreCorrupt) == damaged
        assert caught.value.detail.startswith("etcd ")
        assert WORDS not in caught.value.detail


@pytest.mark.parametrize(
    ("code", "words", "says"),
    [
        (Code.UNAVAILABLE, "etcdserver: no leader", "has no leader"),
        (Code.UNAVAILABLE, "etcdserver: leader changed", UNKNOWN),
        (Code.UNAVAILABLE, "etcdserver: request timed out", UNKNOWN),
        (Code.UNKNOWN, "raft proposal dropped", UNKNOWN),
        (Code.DEADLINE_EXCEEDED, "", f"in time; the write {UNKNOWN}"),
        (
            Code.RESOURCE_EXHAUSTED,
            "etcdserver: mvcc: database space exceeded",
            "defragment it",
        ),
        (Code.RESOURCE_EXHAUSTED, "etcdserver: too many requests", "try again"),
        (Code.INVALID_ARGUMENT, "etcdserver: request is too large", "this size"),
        (Code.PERMISSION_DENIED, "etcdserver: permission denied", "readwrite"),
        (Code.UNIMPLEMENTED, "unknown method", "see its log"),
    ],
)
def test_a_failed_write_says_what_to_do(
    store: EtcdStore, first: Refusing, code: grpc.StatusCode, words: str, says: str
) -> None:
    first.failure = code, words
    error = OutcomeUnknown if UNKNOWN in says else StoreUnavailable
    with pytest.raises(error, match=says):
        put(store, "services/a", b"")


@pytest.mark.parametrize("code", [Code.UNAVAILABLE, Code.UNKNOWN, Code.INTERNAL])
def test_a_read_goes_to_the_next_member(
    pair: EtcdStore, first: Refusing, second: Refusing, code: grpc.StatusCode
) -> None:
    first.failure = code, WORDS
    pair.ping()
    first.asked.clear()
    pair.ping()  # at once of the one that answers
    assert first.asked == []


def test_a_write_that_may_have_happened_is_sent_once(
    pair: EtcdStore, first: Refusing, second: Refusing
) -> None:
    first.failure = Code.UNAVAILABLE, "etcdserver: leader changed"
    with pytest.raises(OutcomeUnknown):
        put(pair, "services/a", b"")
    assert (first.asked[1:], second.asked) == (["Txn"], [])
    put(pair, "services/a", b"")
    assert second.asked == ["Txn"]


def test_a_write_that_was_not_read_goes_to_the_next_member(
    pair: EtcdStore, first: Refusing, second: Refusing
) -> None:
    first.failure = Code.UNAVAILABLE, "etcdserver: no leader"
    assert put(pair, "services/a", b"") == 8
    assert (first.asked[1:], second.asked) == (["Txn"], ["Txn"])


def test_a_refusal_is_not_taken_to_the_next_member(
    pair: EtcdStore, first: Refusing, second: Refusing
) -> None:
    first.failure = Code.PERMISSION_DENIED, "etcdserver: permission denied"
    for call in (pair.ping, lambda: put(pair, "services/a", b"")):
        with pytest.raises(StoreUnavailable, match="does not let"):
            call()
    assert second.asked == []


@pytest.mark.parametrize("how", ["canceled", "failed"])
def test_a_watch_that_the_server_ends_is_lost_and_begun_again(
    store: EtcdStore, first: Refusing, how: str
) -> None:
    recorder = Recorder()
    store.watch(recorder)
    if how == "canceled":
        first.cancelled = {"canceled": True, "cancel_reason": "it was tired"}
    else:
        first.failure = Code.UNAVAILABLE, "etcdserver: no leader"
    recorder.wait(lambda: len(recorder.events) > 1, "the news of the end")
    lost = recorder.events[1]
    assert isinstance(lost, Lost)
    assert ("it was tired" if how == "canceled" else "has no leader") in lost.reason
    first.cancelled, first.failure = {}, None
    recorder.wait(lambda: len(recorder.events) > 2, "a fresh snapshot")


def test_a_watch_of_compacted_history_is_begun_again_without_a_loss(
    store: EtcdStore, first: Refusing
) -> None:
    recorder = Recorder()
    store.watch(recorder)
    first.cancelled = {"canceled": True, "compact_revision": 99}
    recorder.wait(lambda: len(recorder.events) > 1, "a fresh snapshot")
    assert not any(isinstance(event, Lost) for event in recorder.events)
