"""Streams in front of Flask: who gets one, how it begins, and how it ends."""

import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest
from flask import Flask
from werkzeug.test import Client, EnvironBuilder

from modularity_registry.api.app import create_app
from modularity_registry.api.authorization import Authenticator
from modularity_registry.api.hot_path.reply import ReplyWriter
from modularity_registry.api.long_replies.streams import MOST_UNSENT, Streams
from modularity_registry.errors import TooManyRequests
from modularity_registry.events import KINDS
from modularity_registry.runtime import Registry
from support.access.authorization import bearer, closed_registry, token
from support.events import frames
from support.loops import Connection
from support.registry import LOOP, eventually, loaded_registry, registration, unload

T = TypeVar("T")


class Door:
    """Opens streams of a registry, and asks its Flask for the same."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.flask: Flask = create_app(registry)
        self.client = Client(self.flask)
        self.notes: list[int] = []
        writer = ReplyWriter(registry.settings, registry.view_health)
        self.streams = Streams(
            registry,
            Authenticator(registry),
            writer,
            lambda environ, status, seconds: self.notes.append(status),
        )

    def open(
        self, query: str = "", http: str = "HTTP/1.1", peer: str = "", **headers: str
    ) -> Connection | None:
        """Return the connection that a stream took; None if it did not."""
        environ = EnvironBuilder("/api/events", query_string=query).get_environ()
        environ |= {f"HTTP_{name}": value for name, value in headers.items()}
        environ |= {"SERVER_PROTOCOL": http, "REMOTE_ADDR": peer}
        connection = Connection()

        async def call() -> bool:
            return self.streams.open(environ, connection)  # type: ignore[arg-type]

        opened = LOOP.call(call())
        assert opened or not connection.text
        return connection if opened else None

    def get(self, query: str = "", **headers: str) -> int:
        environ = {f"HTTP_{name}": value for name, value in headers.items()}
        call = self.client.get(
            "/api/events", query_string=query, environ_overrides=environ
        )
        return call.status_code

    def register(self, service_id: str) -> None:
        body = registration(service_id, mode="standalone")
        assert self.client.post("/api/register", json=body).status_code == 201


@pytest.fixture
def door(registry: Registry) -> Door:
    return Door(registry)


def on_loop(call: Callable[[], T]) -> T:
    async def run() -> T:
        return call()

    return LOOP.call(run())


def head_and_body(connection: Connection) -> tuple[dict[str, str], bytes]:
    head, _, body = connection.text.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    assert status == "HTTP/1.1 200 OK"
    return dict(line.split(": ", 1) for line in lines), body


def unchunked(body: bytes) -> bytes:
    text = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size, 16)
        assert rest[length : length + 2] == b"\r\n"
        text, body = text + rest[:length], rest[length + 2 :]
    return text


def events(connection: Connection) -> list[dict[str, Any]]:
    return frames(
        unchunked(head_and_body(connection)[1]).removeprefix(b"retry: 1000\n")
    )


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"ORIGIN": "http://localhost:3000"},
        {"ORIGIN": "http://evil.example"},
        {"ORIGIN": "null", "SEC_FETCH_SITE": "cross-site"},
        {"ORIGIN": ""},
        {"LAST_EVENT_ID": "x-1", "IF_NONE_MATCH": "*"},
    ],
)
@pytest.mark.parametrize("auth", [False, True])
def test_the_head_is_the_one_that_flask_gives(
    auth: bool, headers: dict[str, str]
) -> None:
    headers = {"X_REQUEST_ID": "mine", **headers}
    if not auth:
        registry = loaded_registry()
        compare_heads(Door(registry), headers)
        unload(registry)
        return
    with closed_registry() as registry:
        text = bearer(token(registry, "reader", "read"))["Authorization"]
        compare_heads(Door(registry), {**headers, "AUTHORIZATION": text})


def compare_heads(door: Door, headers: dict[str, str]) -> None:
    connection = door.open(**headers)
    assert connection is not None
    found, _ = head_and_body(connection)
    reply = door.client.head(
        "/api/events",
        environ_overrides={f"HTTP_{name}": value for name, value in headers.items()},
    )
    expected = {name.lower(): value for name, value in reply.headers.items()}
    del expected["content-length"]
    assert found == {
        **expected,
        "connection": "close",
        "transfer-encoding": "chunked",
    }


def test_a_stream_begins_with_where_it_is_and_goes_on_with_what_happens(
    door: Door,
) -> None:
    door.register("before")
    connection = door.open()
    assert connection is not None
    door.register("a")
    eventually(lambda: b"service.registered" in connection.text)
    connected, registered = events(connection)
    epoch = door.registry.hub.epoch
    assert (connected["event"], connected["id"]) == ("connected", f"{epoch}-1")
    assert (connected["revision"], connected["data"]) == (1, {"epoch": epoch})
    assert (registered["id"], registered["data"]["id"]) == (f"{epoch}-2", "a")
    assert door.registry.metrics.propagation.count == 1
    assert door.notes == [200]


def test_a_caller_of_http_1_0_gets_no_chunks(door: Door) -> None:
    connection = door.open(http="HTTP/1.0")
    assert connection is not None
    head, body = head_and_body(connection)
    assert "transfer-encoding" not in head
    assert body.startswith(b"retry: 1000\nid: ")
    door.register("a")
    eventually(lambda: connection.text.endswith(b"}}\n\n"))
    on_loop(door.registry.hub.stop)
    assert connection.ended
    assert connection.text.endswith(b"}}\n\n")


@pytest.mark.parametrize(
    "last", ["other-1", "junk", "{}-99", "{}-x", "{}-1.2.3", "{}-"]
)
def test_what_cannot_be_resumed_says_resync(door: Door, last: str) -> None:
    door.register("a")
    last = last.format(door.registry.hub.epoch)
    connection = door.open(LAST_EVENT_ID=last)
    assert connection is not None
    connected, resync = events(connection)
    assert (connected["event"], resync["event"]) == ("connected", "resync")
    assert connected["id"] == resync["id"]
    assert "read the list again" in resync["data"]["reason"]


def test_a_stream_resumes_where_its_reader_was(door: Door) -> None:
    for service_id in "abc":
        door.register(service_id)
    epoch = door.registry.hub.epoch
    connection = door.open(LAST_EVENT_ID=f"{epoch}-1")
    assert connection is not None
    eventually(lambda: connection.text.count(b"registered\n") == 2)
    connected, *missed = events(connection)
    assert connected["id"] == f"{epoch}-1"
    assert [event["data"]["id"] for event in missed] == ["b", "c"]


@pytest.mark.parametrize(
    "query", ["type=service.registered,capability.invoked", "type=service.registered"]
)
def test_types_are_chosen(door: Door, query: str) -> None:
    connection = door.open(query)
    assert connection is not None
    door.register("a")
    assert door.client.delete("/api/services/a").status_code == 200
    door.register("b")
    eventually(lambda: connection.text.count(b"event: service.") == 2)
    found = [event["data"].get("id") for event in events(connection)[1:]]
    assert found == ["a", "b"]


@pytest.mark.parametrize("query", ["type=x", "type=", "type=connected", "colour=red"])
def test_bad_arguments_are_left_to_flask(door: Door, query: str) -> None:
    assert door.open(query) is None
    reply = door.client.get("/api/events", query_string=query)
    assert reply.status_code == 400
    if query.startswith("type"):
        assert all(kind in reply.get_data(as_text=True) for kind in KINDS)


def test_who_may_not_read_is_left_to_flask() -> None:
    with closed_registry() as registry:
        door = Door(registry)
        assert door.open() is None
        assert door.get() == 401
        text = bearer(token(registry, "writer", "register"))["Authorization"]
        assert door.open(AUTHORIZATION=text) is None
        assert door.get(AUTHORIZATION=text) == 403


def test_a_stream_ends_with_its_token() -> None:
    with closed_registry() as registry:
        door = Door(registry)
        admin = bearer(token(registry, "admin", "admin"))
        text = bearer(token(registry, "reader", "read"))["Authorization"]
        connection = door.open(AUTHORIZATION=text)
        assert connection is not None
        reply = door.client.delete("/api/tokens/reader", headers=admin)
        assert reply.status_code == 200
        eventually(lambda: connection.ended)
        assert connection.text.endswith(b"0\r\n\r\n")
        assert len(registry.hub) == 0


def test_one_client_can_not_take_the_places_of_all() -> None:
    registry = loaded_registry(max_watchers=5, max_watchers_per_client=2)
    door = Door(registry)
    streams = [door.open(peer="10.0.0.1"), door.open(peer="10.0.0.1")]
    assert door.open(peer="10.0.0.1") is None
    reply = door.client.get("/api/events", environ_base={"REMOTE_ADDR": "10.0.0.1"})
    assert reply.status_code == 429
    assert reply.get_json()["code"] == "too_many_watchers_of_client"
    assert reply.headers["Retry-After"] == "1"
    peers = ("10.0.0.2", "2001:db8::1", "2001:db8::2")
    streams += [door.open(peer=peer) for peer in peers]
    assert all(streams)
    assert door.open(peer="10.0.0.3") is None
    reply = door.client.get("/api/events", environ_base={"REMOTE_ADDR": "10.0.0.3"})
    assert (reply.status_code, reply.get_json()["code"]) == (503, "too_many_watchers")
    assert streams[0] is not None and streams[0].lost is not None
    on_loop(streams[0].lost)
    assert door.open(peer="10.0.0.1") is not None
    unload(registry)


def test_a_stream_counts_as_one_read() -> None:
    registry = loaded_registry(read_rate="2/minute")
    door = Door(registry)
    assert [door.open() is not None for _ in range(3)] == [True, True, False]
    assert door.get() == 429
    unload(registry)


def test_a_reader_who_is_too_slow_is_told_to_read_the_list_again(door: Door) -> None:
    slow, quick = door.open(), door.open()
    assert slow is not None and quick is not None
    slow.transport.unsent = MOST_UNSENT + 1
    door.register("a")
    eventually(lambda: slow.ended and b"registered" in quick.text)
    assert not quick.ended
    assert slow.text.endswith(b"0\r\n\r\n")
    resync = events(slow)[-1]
    # Whoever comes back with this id has read the list: it is not told all again.
    assert (resync["event"], resync["id"][-2:]) == ("resync", "-1")
    assert len(door.registry.hub) == 1


def test_the_place_of_one_who_is_gone_is_free_at_once(door: Door) -> None:
    connection = door.open()
    assert connection is not None and connection.lost is not None
    assert len(door.registry.hub) == 1
    on_loop(connection.lost)
    assert len(door.registry.hub) == 0
    before = connection.text
    door.register("a")
    on_loop(door.registry.hub.stop)
    assert connection.text == before


# Rates that are counted elsewhere


class RemoteRate:
    """Counts when ``answers`` is set, in place of a Redis."""

    waits = True

    def __init__(self, within: bool) -> None:
        self.answers = threading.Event()
        self.within = within

    def take(self, client: str) -> None:
        self.answers.wait(10)
        if not self.within:
            raise TooManyRequests(f"{client} is over the limit", 7)


@pytest.fixture(params=[True, False], ids=["within", "over"])
def remote(request: Any, registry: Registry) -> Iterator[RemoteRate]:
    rate: Any = RemoteRate(request.param)
    registry.rates.reads = rate
    yield rate
    rate.answers.set()


def test_a_count_elsewhere_does_not_hold_up_the_loop(
    remote: RemoteRate, door: Door
) -> None:
    connection = door.open(ORIGIN="http://localhost:3000")
    assert connection is not None
    assert (connection.text, len(door.registry.hub)) == (b"", 0)
    remote.answers.set()
    eventually(lambda: connection.text != b"")
    if remote.within:
        assert events(connection)[0]["event"] == "connected"
        return
    assert connection.text.startswith(b"HTTP/1.1 429 ")
    assert b"retry-after: 7\r\n" in connection.text
    assert b"access-control-allow-origin: http://localhost:3000" in connection.text
    eventually(lambda: connection.ended)
    assert door.notes == [429]


def test_who_is_gone_before_the_count_gets_nothing(
    remote: RemoteRate, door: Door
) -> None:
    connection = door.open()
    assert connection is not None and connection.lost is not None
    on_loop(connection.lost)
    remote.answers.set()
    eventually(lambda: not door.streams._counting)
    assert (connection.text, len(door.registry.hub)) == (b"", 0)
