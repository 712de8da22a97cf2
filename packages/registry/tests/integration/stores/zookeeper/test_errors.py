"""Kazoo's errors stop at the store, and kazoo's sockets do what they are told."""

import itertools
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from kazoo import exceptions  # type: ignore[import-untyped]  # has no types
from kazoo.handlers.threading import (  # type: ignore[import-untyped]  # has no types
    KazooTimeoutError,
)

from modularity_registry.errors import OutcomeUnknown, StoreUnavailable
from modularity_registry.stores.base import Snapshot, delete, put
from modularity_registry.stores.conformance.base import assert_prompt
from modularity_registry.stores.conformance.breakable_proxy import HOST, BreakableProxy
from modularity_registry.stores.conformance.recorder import Recorder
from modularity_registry.stores.server_url import Host, Server
from modularity_registry.stores.zookeeper.connection import Connection
from modularity_registry.stores.zookeeper.sockets import BufferedSocket, Handler
from modularity_registry.stores.zookeeper.store import ZookeeperStore
from support.registry import eventually
from support.servers.stores.zookeeper import Zookeeper, running

_numbers = itertools.count()

EVERY = sorted(
    {
        *exceptions.EXCEPTIONS.values(),
        exceptions.ConnectionClosedError,
        exceptions.ConnectionDropped,
        KazooTimeoutError,
        RuntimeError,
        OSError,
    },
    key=lambda error: str(error.__name__),
)

# Those that tell of a write which was not made.
REFUSED = {
    "NoAuthError",
    "AuthFailedError",
    "InvalidACLError",
    "SessionClosedRequireSaslError",
    "ThrottledOpError",
}


@pytest.fixture(scope="module")
def zookeeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zookeeper]:
    with running(tmp_path_factory.mktemp("zookeeper")) as server:
        yield server


@pytest.fixture
def server(zookeeper: Zookeeper) -> Server:
    return Server((zookeeper.host,), prefix=f"errors-{next(_numbers)}")


@pytest.fixture
def store(server: Server) -> Iterator[ZookeeperStore]:
    store = ZookeeperStore(server)
    yield store
    store.close()


class Failing:
    """Stands for a call that is answered with an error."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def get(self, timeout: float) -> object:
        raise self._error

    def set_exception(self, error: Exception) -> None:
        self._error = error


class FailingClient:
    """Stands for kazoo; every call fails with the same error."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Callable[..., Failing]:
        assert name.endswith("_async")
        return lambda *_, **__: Failing(self._error)

    def transaction(self) -> Any:
        def step(*_: object, **__: object) -> None: ...

        def commit() -> Failing:
            return Failing(self._error)

        return SimpleNamespace(
            check=step, create=step, set_data=step, delete=step, commit_async=commit
        )


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
def test_no_error_of_the_driver_leaves_the_store(
    store: ZookeeperStore, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    revision = put(store, "services/a", b"1")
    recorder = Recorder()
    store.watch(recorder)
    writes: list[Callable[[], object]] = [
        lambda: put(store, "services/a", b"2"),
        lambda: put(store, "services/a", b"2", expected=0),
        lambda: delete(store, "services/a"),
    ]
    reads: list[Callable[[], object]] = [
        lambda: put(store, "services/a", b"2", expected=revision + 1),
        lambda: delete(store, "services/a", expected=revision + 1),
        lambda: store.watch(Recorder()),
        store.ping,
    ]
    whole = store._pool._connection.client
    monkeypatch.setattr(store._pool._connection, "client", FailingClient(kind("own")))
    for call in writes + reads:
        unsure = call in writes and kind.__name__ not in REFUSED
        with pytest.raises(OutcomeUnknown if unsure else StoreUnavailable) as caught:
            call()
        assert str(store._pool._server) in caught.value.detail
    monkeypatch.setattr(store._pool._connection, "client", whole)
    eventually(lambda: answers(store))
    recorder.wait_for_revision(put(store, "services/a", b"3"))


def answers(store: ZookeeperStore) -> bool:
    try:
        store.ping()
    except StoreUnavailable:
        return False
    return True


def test_an_answer_out_of_time_breaks_the_line(
    zookeeper: Zookeeper, server: Server
) -> None:
    # Kazoo sends on as long as there is something to send, and waits for ever.
    proxy = BreakableProxy(zookeeper.port)
    far = Server((Host(HOST, proxy.port),), prefix=server.prefix)
    store = ZookeeperStore(far, 1.0)
    proxy.hold()
    with pytest.raises(OutcomeUnknown, match="has not answered for 1 s; the write may"):
        put(store, "services/a", b"")
    # Kazoo's own timer would take longer.
    eventually(lambda: store._pool._connection.breaks > 0, 2.5)
    proxy.mend()
    recorder = Recorder(40.0)
    eventually(lambda: answers(store))
    store.watch(recorder)
    near = ZookeeperStore(server)
    recorder.wait_for_revision(put(near, "services/b", b""))
    near.close()
    store.close()
    proxy.close()


def test_a_session_that_has_expired_is_replaced(store: ZookeeperStore) -> None:
    recorder = Recorder()
    store.watch(recorder)
    first = put(store, "services/a", b"1")
    client = store._pool._connection.client
    with_session = client.client_id
    # What kazoo itself tests with: as if the server had said so.
    from kazoo.protocol import connection  # type: ignore[import-untyped]  # no types

    client._call(connection._SESSION_EXPIRED, client.handler.async_result())
    recorder.wait(lambda: len(snapshots(recorder)) > 1, "a fresh snapshot")
    assert [record.revision for record in snapshots(recorder)[-1].records] == [first]
    recorder.wait_for_revision(put(store, "services/a", b"2", expected=first))
    assert client.client_id != with_session


def test_a_thread_of_kazoo_that_has_ended_is_replaced(
    zookeeper: Zookeeper, server: Server
) -> None:
    store = ZookeeperStore(server, 1.0)
    recorder = Recorder()
    store.watch(recorder)
    store._pool._connection.client.stop()
    recorder.wait(lambda: len(snapshots(recorder)) > 1, "a fresh snapshot")
    recorder.wait_for_revision(put(store, "services/a", b""))
    store.close()


def snapshots(recorder: Recorder) -> list[Snapshot]:
    return [event for event in recorder.events if isinstance(event, Snapshot)]


def test_no_thread_stays_behind(server: Server) -> None:
    before = set(threading.enumerate())
    store = ZookeeperStore(server)
    store.watch(Recorder())
    put(store, "services/a", b"")
    assert len(set(threading.enumerate()) - before) > 2
    store.close()
    assert set(threading.enumerate()) - before == set()


def test_to_close_needs_no_server_that_answers() -> None:
    with socket.create_server((HOST, 0)) as silent:
        server = Server((Host(HOST, silent.getsockname()[1]),))
        with pytest.raises(StoreUnavailable, match="accepts connections, but no"):
            assert_prompt(lambda: ZookeeperStore(server, 1.0))


def test_a_name_that_is_none_is_told_promptly() -> None:
    server = Server((Host("registry.invalid", 2181),))
    with pytest.raises(StoreUnavailable, match="can't be reached"):
        assert_prompt(lambda: ZookeeperStore(server, 1.0), 10.0)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


def test_what_was_read_ahead_needs_no_wait(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    handler, (near, far) = Handler(None, 1.0), pair
    buffered = BufferedSocket(near)
    far.sendall(b"abcdef")
    assert handler.select([buffered], [], [], 5) == ([buffered], [], [])
    assert (buffered.recv(4), buffered.pending()) == (b"abcd", 2)
    assert_prompt(lambda: handler.select([buffered], [], [], 10))
    assert handler.select([buffered, far], [far], [], 5) == ([buffered], [far], [])
    assert (buffered.recv(4), buffered.pending()) == (b"ef", 0)
    assert handler.select([buffered], [], [], 0) == ([], [], [])
    far.close()
    assert handler.select([buffered], [], [], 5) == ([buffered], [], [])
    assert buffered.recv(4) == b""


def test_a_connection_that_was_dropped_ends() -> None:
    handler = Handler(None, 1.0)
    with socket.create_server((HOST, 0)) as listening:
        made = handler.create_connection(listening.getsockname())
        accepted, _ = listening.accept()
        with accepted:
            handler.drop()
            assert made.recv(1) == b""
            made.close()
            handler.drop()
        handler.refuse()
        with pytest.raises(ConnectionAbortedError):
            handler.create_connection(listening.getsockname())


def test_a_server_that_does_not_speak_tls_is_not_waited_for() -> None:
    handler = Handler(ssl.create_default_context(), 0.2)
    with socket.create_server((HOST, 0)) as silent, pytest.raises(TimeoutError):
        assert_prompt(lambda: handler.create_connection(silent.getsockname()))
    assert isinstance(handler.failure, TimeoutError)


def test_the_driver_logs_no_password() -> None:
    server = Server((Host(HOST, 1),), "user", "hunter2")
    connection = Connection(server, 1.0, None, threading.Condition())
    assert not connection.client.logger.isEnabledFor(10)
    connection.close()
