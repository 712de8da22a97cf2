"""Streams of events that mend themselves, from real registries and scripted servers."""

import asyncio
import json
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from client_support.harness import Answer, RegistryProcess, ScriptedServer, problem
from client_support.proxy import Proxy
from modularity_client import AsyncRegistry, Registry, Unauthorized
from modularity_client.events import session
from modularity_client.events.session import Event
from modularity_client.events.stream import AsyncEventStream, EventStream

Scripted = Callable[..., ScriptedServer]
Own = Callable[[], RegistryProcess]


class Listening:
    """A stream of either kind, read event by event: the tests are the same."""

    def __init__(self, kind: str, url: Any, keep_alive: float, **options: Any) -> None:
        self._runner = asyncio.Runner() if kind == "async" else None
        client = AsyncRegistry if kind == "async" else Registry
        settings = client(url, token="secret").settings
        stream = AsyncEventStream if kind == "async" else EventStream
        self.stream: Any = stream(settings, keep_alive=keep_alive, **options)

    def next(self) -> Event:
        if self._runner is None:
            event: Event = next(self.stream)
            return event
        return self._runner.run(_next(self.stream))

    def until(self, kind: str) -> Event:
        while (event := self.next()).type != kind:
            assert event.type in ("connected", "disconnected"), event
        return event

    def close(self) -> None:
        if self._runner is None:
            self.stream.close()
        else:
            self._runner.run(self.stream.close())
            self._runner.close()


async def _next(stream: AsyncIterator[Event]) -> Event:
    async with asyncio.timeout(20):
        return await anext(stream)


Listen = Callable[..., Listening]


@pytest.fixture(params=["sync", "async"])
def listen(request: pytest.FixtureRequest) -> Iterator[Listen]:
    with ExitStack() as stack:

        def make(url: Any, keep_alive: float = 15.0, **options: Any) -> Listening:
            listening = Listening(request.param, url, keep_alive, **options)
            stack.callback(listening.close)
            return listening

        yield make


def register(registry: RegistryProcess, service_id: str, *names: str) -> int:
    with Registry(registry.url) as client:
        return client.put(
            id=service_id,
            name=service_id,
            capabilities=names,
            location="here",
            mode="standalone",
        ).revision


def fresh(name: str) -> str:
    """A name that no other test, nor the same with another stream, has used."""
    return f"{name}-{uuid.uuid4().hex[:8]}"


def frame(event: str, position: str, **data: Any) -> bytes:
    body = {"event": event, "timestamp": None, "revision": None, "data": data}
    return f"id: {position}\nevent: {event}\ndata: {json.dumps(body)}\n\n".encode()


def stream(*frames: bytes, ends: bool = True) -> Answer:
    """Answer with a stream; one that doesn't end falls silent."""
    body = b"retry: 10\n" + b"".join(frames)
    headers = {"Content-Type": "text/event-stream"}
    if not ends:
        headers["Content-Length"] = "1000000"
    return Answer(200, body, headers)


def test_changes_come_with_their_service(
    shared: RegistryProcess, listen: Listen
) -> None:
    followed = fresh("followed")
    listening = listen(shared.url, capabilities=[followed])
    connected = listening.next()
    assert connected.type == "connected"
    revision = register(shared, followed, followed)
    register(shared, fresh("other"), "other")
    with Registry(shared.url) as client:
        client.drain(followed, reason="a rest")
    event = listening.next()
    assert event.type == "service.registered"
    assert event.revision == revision
    assert event.id == f"{connected.data['epoch']}-{revision}"
    assert event.timestamp is not None
    assert event.timestamp.tzinfo is not None
    assert event.service is not None
    assert (event.service.id, event.service.status) == (followed, "healthy")
    changed = listening.next()
    assert changed.type == "service.status_changed"
    assert changed.data["reason"] == "a rest"
    assert changed.service is not None
    assert changed.service.status == "draining"


def test_the_registry_gives_its_stream(shared: RegistryProcess) -> None:
    with Registry(shared.url) as registry, registry.events(services=["s"]) as events:
        assert next(events).type == "connected"


def test_a_broken_line_is_mended_and_nothing_is_lost(
    shared: RegistryProcess, listen: Listen
) -> None:
    proxy = Proxy(shared.port)
    try:
        mended = fresh("mended")
        listening = listen(proxy.url, capabilities=[mended])
        listening.next()
        register(shared, f"{mended}-1", mended)
        assert listening.next().type == "service.registered"
        proxy.cut()
        register(shared, f"{mended}-2", mended)
        assert listening.next().type == "disconnected"
        assert listening.next().type == "connected"
        event = listening.next()
        assert event.service is not None
        assert event.service.id == f"{mended}-2"
    finally:
        proxy.close()


def test_a_registry_that_was_restarted_says_resync(own: Own, listen: Listen) -> None:
    registry = own()
    registry.start()
    listening = listen(registry.url)
    first = listening.next()
    registry.kill()
    assert listening.next().type == "disconnected"
    registry.start()
    again = listening.until("connected")
    assert again.data["epoch"] != first.data["epoch"]
    assert listening.next().type == "resync"
    register(registry, "again", "x")
    assert listening.next().type == "service.registered"


def test_it_goes_on_after_the_last_event_that_was_shown(
    scripted: Scripted, listen: Listen
) -> None:
    server = scripted(
        stream(frame("connected", "e-5"), frame("capability.invoked", "e-6", x=1)),
        stream(frame("connected", "e-6"), frame("capability.invoked", "e-7", x=2)),
    )
    listening = listen(server.url, last_event_id="e-4", services=["a&b"])
    events = []
    for _ in range(5):
        events.append(listening.next())
        assert listening.stream.last_event_id == events[-1].id
    assert [each.type for each in events] == [
        "connected",
        "capability.invoked",
        "disconnected",
        "connected",
        "capability.invoked",
    ]
    first, second = server.requests[:2]
    assert first.target == "/api/events?service=a%26b"
    assert first.headers["last-event-id"] == "e-4"
    assert second.headers["last-event-id"] == "e-6"
    assert first.headers["authorization"] == "Bearer secret"


def test_who_was_never_connected_is_told_once(listen: Listen, own: Own) -> None:
    registry = own()
    listening = listen(registry.url)
    assert listening.next().type == "disconnected"
    registry.start()
    assert listening.next().type == "connected"


def test_the_next_url_takes_over(
    shared: RegistryProcess, own: Own, listen: Listen
) -> None:
    listening = listen([own().url, shared.url])
    assert listening.next().type == "disconnected"
    assert listening.next().type == "connected"


def test_a_silent_line_is_given_up(scripted: Scripted, listen: Listen) -> None:
    server = scripted(stream(frame("connected", "e-1"), ends=False))
    listening = listen(server.url, keep_alive=0.05)
    assert listening.next().type == "connected"
    assert listening.next().type == "disconnected"


def test_a_line_may_be_silent_for_longer_than_it_takes_to_connect(
    shared: RegistryProcess, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "CONNECT_TIMEOUT", 1.0)
    name = fresh("late")
    listening = listen(shared.url, capabilities=[name])
    assert listening.next().type == "connected"
    timer = threading.Timer(2.0, register, (shared, name, name))
    timer.start()
    assert listening.next().type == "service.registered"
    timer.join()


def test_retry_after_is_kept(scripted: Scripted, listen: Listen) -> None:
    server = scripted(
        problem(503, "too_many_watchers", 1), stream(frame("connected", "e-1"))
    )
    listening = listen(server.url)
    assert "too_many_watchers" in listening.next().data["reason"]
    began = time.monotonic()
    assert listening.next().type == "connected"
    assert time.monotonic() - began >= 0.9


def test_a_bad_token_is_an_error(scripted: Scripted, listen: Listen) -> None:
    listening = listen(scripted(problem(401, "unauthorized")).url)
    with pytest.raises(Unauthorized):
        listening.next()


def test_what_is_no_stream_is_an_error(scripted: Scripted, listen: Listen) -> None:
    listening = listen(scripted(Answer(200, {"hello": "there"})).url)
    with pytest.raises(Exception, match="no stream of events"):
        listening.next()


def test_an_event_that_cannot_be_read_may_have_been_a_change(
    scripted: Scripted, listen: Listen
) -> None:
    bad = b"id: e-2\nevent: service.updated\ndata: {}\n\n"
    listening = listen(scripted(stream(frame("connected", "e-1"), bad, ends=False)).url)
    listening.next()
    event = listening.next()
    assert (event.type, event.id) == ("resync", "e-2")


def test_a_line_without_end_breaks_the_connection(
    scripted: Scripted, listen: Listen
) -> None:
    server = scripted(
        stream(frame("connected", "e-1"), b"data: " + b"x" * 2_000_000, ends=False),
        stream(frame("connected", "e-1"), ends=False),
    )
    listening = listen(server.url)
    kinds = [listening.next().type for _ in range(3)]
    assert kinds == ["connected", "disconnected", "connected"]


def test_closing_wakes_the_thread_that_waits(shared: RegistryProcess) -> None:
    with Registry(shared.url) as registry:
        events = registry.events(capabilities=["quiet"])
        assert next(events).type == "connected"
        ended = threading.Event()

        def read() -> None:
            for _ in events:
                pass
            ended.set()

        threading.Thread(target=read, daemon=True).start()
        events.close()
        assert ended.wait(10)


def test_a_reader_can_be_cancelled(shared: RegistryProcess) -> None:
    async def main() -> None:
        registry = AsyncRegistry(shared.url)
        async with registry, registry.events(capabilities=["quiet"]) as events:
            assert (await anext(events)).type == "connected"
            task = asyncio.ensure_future(anext(events))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
