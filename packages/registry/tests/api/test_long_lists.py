"""Long lists are sent in pieces, and are Flask's to the last byte."""

import asyncio
import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from flask import Flask

from modularity_registry.api.app import create_app
from modularity_registry.api.hot_path import RegistryFront
from modularity_registry.runtime import Registry
from modularity_registry.serving.front import CALL
from modularity_registry.serving.head import Environ, Head
from support import loops
from support.hot_path import FakeConnection
from support.loops import soon, turns
from support.registry import loaded_registry, registration, unload

COUNT = 1_101
SERVICES = "/api/services"
PROVIDERS = "/api/capabilities/greet/services"


@pytest.fixture(scope="module")
def loaded() -> Iterator[tuple[Registry, Flask]]:
    registry = loaded_registry()
    app = create_app(registry)
    client = app.test_client()
    for number in range(COUNT):
        body = registration(
            f"s{number:04}",
            name="Odd" if number % 2 else "Even",
            mode="embedded",
            location="here",
            metadata={"tenth": str(number % 10)},
        )
        assert client.post("/api/register", json=body).status_code == 201
    yield registry, app
    unload(registry)


class Transport(loops.Transport):
    def __init__(self) -> None:
        super().__init__(lambda _: None)
        self.closing = False

    def is_closing(self) -> bool:
        return self.closing


def call(target: str, transport: Transport | None = None, **headers: str) -> Environ:
    lines = [(name.encode(), text.encode()) for name, text in headers.items()]
    head = Head(b"GET", target.encode(), "1.1", lines, keep_alive=True)
    connection = FakeConnection("127.0.0.1")
    connection.transport = transport or Transport()
    return connection.environ_of(head) | {CALL: connection}


class Reader:
    """Takes the messages of a reply, each when it is let."""

    def __init__(self, slow: bool = False) -> None:
        self.messages: list[dict[str, Any]] = []
        self.gate = asyncio.Semaphore(0)
        self.slow = slow

    async def send(self, message: dict[str, Any]) -> None:
        self.messages.append(message)
        if self.slow:
            await self.gate.acquire()

    @property
    def pieces(self) -> list[bytes]:
        return [message["body"] for message in self.messages[1:]]


def sent(registry: Registry, app: Flask, environ: Environ) -> Reader | None:
    front = RegistryFront(registry, app)

    async def send() -> Reader | None:
        stream = front.stream(environ)
        if stream is None:
            return None
        reader = Reader()
        await stream(reader.send)
        return reader

    return registry.call(send())


@pytest.mark.parametrize("path", [SERVICES, PROVIDERS])
@pytest.mark.parametrize(
    "query",
    [
        "",
        "name=Odd",
        "metadata.tenth=3",
        "name=nobody",
        "mode=embedded&metadata.tenth=3&limit=600",
        "limit=501",
        "limit=1100",
        "limit=1101",
        "limit=10000",
        "version=>=1",
    ],
)
def test_list_is_flasks_to_the_last_byte_on_every_page(
    loaded: tuple[Registry, Flask], path: str, query: str
) -> None:
    registry, app = loaded
    client, target, pages = app.test_client(), f"{path}?{query}", 0
    while target:
        reader = sent(registry, app, call(target))
        assert reader is not None
        expected = client.get(target)
        start = reader.messages[0]
        headers = {n.decode(): text.decode() for n, text in start["headers"]}
        shown = {name.lower(): text for name, text in expected.headers}
        assert shown.pop("content-length") == str(len(b"".join(reader.pieces)))
        assert headers.pop("x-request-id") != shown.pop("x-request-id")
        assert (start["status"], headers) == (expected.status_code, shown)
        assert b"".join(reader.pieces) == expected.data
        ends = [message["more_body"] for message in reader.messages[1:]]
        assert ends == [True] * (len(ends) - 1) + [False]
        following = json.loads(expected.data).get("next")
        target = following and f"{path}?{query}&cursor={following}"
        pages += 1
    assert pages >= (3 if query == "limit=501" else 1)


@pytest.mark.parametrize(
    "target",
    [
        f"{SERVICES}?limit=500",
        f"{SERVICES}?capability=greet",
        f"{SERVICES}?limit=x",
        f"{SERVICES}?colour=red",
        f"{SERVICES}?cursor=x",
        f"{SERVICES}?wait=x",
        "/api/capabilities/none/services",
        "/api/capabilities/gr%C3%A9t/services",
        "/api/services/s0001",
    ],
)
def test_what_is_not_long_or_not_right_is_flasks(
    loaded: tuple[Registry, Flask], target: str
) -> None:
    assert sent(*loaded, call(target)) is None


@pytest.mark.parametrize(
    "header", ["If-None-Match", "Origin", "Sec-Fetch-Site", "Range"]
)
def test_call_whose_reply_depends_on_a_header_is_flasks(
    loaded: tuple[Registry, Flask], header: str
) -> None:
    assert sent(*loaded, call(SERVICES, None, **{header: "x"})) is None


def has_sent(reader: Reader, count: int) -> bool:
    return len(reader.messages) == count


def test_slow_reader_has_one_piece_made_at_a_time_and_a_lost_one_none(
    loaded: tuple[Registry, Flask],
) -> None:
    registry, app = loaded
    front = RegistryFront(registry, app)
    transport = Transport()

    async def read_slowly() -> None:
        reader = Reader(slow=True)
        stream = front.stream(call(SERVICES, transport))
        assert stream is not None
        task = asyncio.ensure_future(stream(reader.send))
        for count in range(1, 4):
            await soon(partial(has_sent, reader, count))
            await turns()
            assert len(reader.messages) == count
            reader.gate.release()
        assert sum(map(len, reader.pieces)) < 300 * 1024
        transport.closing = True
        for _ in range(10):
            reader.gate.release()
        await task
        assert len(reader.messages) < 7

    registry.call(read_slowly())


def test_memory_of_a_list_is_that_of_its_largest_piece(
    loaded: tuple[Registry, Flask],
) -> None:
    reader = sent(*loaded, call(SERVICES))
    assert reader is not None
    largest = max(map(len, reader.pieces))
    assert largest < 0.3 * sum(map(len, reader.pieces))
