"""No error of the Redis driver leaves the store as it is."""

import ssl
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import redis
from redis import exceptions

from modularity_registry.errors import OutcomeUnknown, StoreError, StoreUnavailable
from modularity_registry.stores.base import delete, put
from modularity_registry.stores.conformance.recorder import Recorder
from modularity_registry.stores.redis.errors import is_replica_refusal, unavailable
from modularity_registry.stores.redis.store import RedisStore
from modularity_registry.stores.server_url import Host, Server
from support.servers.stores.redis import RedisServer, running

PLACE = Server((Host("::1", 6379),), user="registry", password="hunter2")

ERRORS = [
    exceptions.ConnectionError("Connection closed by server."),
    exceptions.TimeoutError("Timeout reading from socket"),
    exceptions.BusyLoadingError("Redis is loading the dataset in memory"),
    exceptions.AuthenticationError("invalid username-password pair"),
    exceptions.ResponseError("ERR unknown command, with args: hunter2"),
    exceptions.ReadOnlyError("You can't write against a read only replica."),
    exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'"),
    exceptions.NoPermissionError("this user has no permissions"),
    exceptions.InvalidResponse("Protocol Error: b'x'"),
    exceptions.DataError("Invalid input"),
    ConnectionResetError(104, "Connection reset by peer"),
    ssl.SSLError(1, "bad record mac"),
    OSError("an error without a number"),
]

CALLS: dict[str, Callable[[RedisStore], object]] = {
    "put": lambda store: put(store, "services/a", b""),
    "put if": lambda store: put(store, "services/a", b"", expected=1),
    "delete": lambda store: delete(store, "services/a"),
    "delete if": lambda store: delete(store, "services/a", expected=1),
    "watch": lambda store: store.watch(Recorder()),
    "ping": lambda store: store.ping(),
}


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(params=ERRORS, ids=lambda error: type(error).__name__)
def error(request: pytest.FixtureRequest) -> Exception:
    failure: Exception = request.param
    return failure


@pytest.fixture(params=["connect", "send_packed_command", "read_response"])
def method(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def raising(error: Exception) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def test_every_error_is_the_stores_own(
    redis_server: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    method: str,
) -> None:
    with closing(RedisStore(redis_server.place())) as store:
        with monkeypatch.context() as broken:
            broken.setattr(redis.Connection, method, raising(error))
            for call in CALLS.values():
                with pytest.raises(StoreError) as caught:
                    call(store)
                assert "hunter2" not in caught.value.detail
                assert "Redis" in caught.value.detail
            with pytest.raises(StoreUnavailable):
                RedisStore(redis_server.place())
        assert put(store, "services/a", b"")


def test_only_an_answer_that_did_not_come_leaves_the_outcome_unknown(
    redis_server: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    method: str,
) -> None:
    refused = isinstance(
        error,
        exceptions.ResponseError
        | exceptions.AuthenticationError
        | exceptions.BusyLoadingError,
    )
    lost = method == "read_response" and not refused
    with closing(RedisStore(redis_server.place())) as store:
        monkeypatch.setattr(redis.Connection, method, raising(error))
        with pytest.raises(OutcomeUnknown if lost else StoreUnavailable):
            put(store, "services/a", b"")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        ("READONLY You can't write against a read only replica.", "is a replica"),
        ("Error running script: -READONLY You can't write", "is a replica"),
        ("OOM command not allowed when used memory", "no memory left"),
        ("Error running script: -OOM command not allowed", "no memory left"),
        ("NOPERM this user has no permissions", "does not allow"),
        ("ERR The user executing the script can't run this command", "not allow"),
        ("ERR ACL failure in script: User x has no permissions", "does not allow"),
        ("MISCONF Redis is configured to save RDB snapshots", "can't save"),
        ("NOREPLICAS Not enough good replicas to write.", "too few replicas"),
        ("WRONGTYPE Operation against a key", "other data under the store's prefix"),
        ("MOVED 866 10.0.0.1:6379", "is part of a cluster"),
        ("CLUSTERDOWN The cluster is down", "part of a cluster"),
        ("BUSY Redis is busy running a script", "SCRIPT KILL"),
        ("UNBLOCKED force unblock from blocking operation", "became a replica"),
        ("ERR DB index is out of range", "no database with this number"),
        ("ERR something new", "refused a command"),
    ],
)
def test_what_the_server_refuses_is_said_plainly(error: str, says: str) -> None:
    detail = unavailable(exceptions.ResponseError(error), PLACE).detail
    assert says in detail
    assert detail.startswith("the Redis server at [::1]:6379 ")
    assert "hunter2" not in detail


def test_a_replicas_refusal_is_known_by_class_and_by_text() -> None:
    assert is_replica_refusal(exceptions.ReadOnlyError("You can't write"))
    assert is_replica_refusal(exceptions.ResponseError("script: -READONLY You can't"))
    assert not is_replica_refusal(exceptions.ResponseError("OOM"))
    assert not is_replica_refusal(7)
    assert not is_replica_refusal(None)


def test_a_full_memory_fails_the_write_and_nothing_else(tmp_path: Path) -> None:
    with (
        running(tmp_path) as server,
        closing(RedisStore(server.place())) as store,
    ):
        kept = put(store, "services/a", b"1")
        server.call("CONFIG", "SET", "maxmemory", 1)
        with pytest.raises(StoreUnavailable, match="raise its maxmemory"):
            put(store, "services/a", b"2")
        server.call("CONFIG", "SET", "maxmemory", 0)
        assert put(store, "services/a", b"3", expected=kept) == kept + 1


def test_other_data_under_the_prefix_is_told(redis_server: RedisServer) -> None:
    place = redis_server.place()
    redis_server.call("SET", f"{{{place.prefix}}}:state", "of somebody else")
    with pytest.raises(StoreUnavailable, match="choose another one"):
        RedisStore(place)
