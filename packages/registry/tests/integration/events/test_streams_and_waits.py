"""Streams and waiting reads, over HTTP, from a real server."""

import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from support.registry import eventually, registration
from support.servers.streams import (
    KEEP_ALIVE,
    Listener,
    Running,
    listening,
    running,
)

NAMES = str.maketrans(" {}", "...")


@pytest.fixture(scope="module")
def registry() -> Iterator[Running]:
    with running() as registry:
        yield registry


def test_a_stream_tells_of_changes_as_they_come(registry: Running) -> None:
    with listening(registry, "?capability=stream") as listener:
        assert listener.response.getheader("Content-Type") == "text/event-stream"
        assert listener.response.getheader("Cache-Control") == "no-store"
        connected = listener.expect("connected")
        assert (
            connected["id"] == f"{connected['data']['epoch']}-{connected['revision']}"
        )
        registry.register("other", capabilities=["elsewhere"])
        revision = registry.register("a", capabilities=["stream"])
        event = listener.expect("service.registered")
        assert (event["data"]["id"], event["revision"]) == ("a", revision)
        assert event["id"].endswith(f"-{revision}")
        requests.delete(f"{registry.url}/api/services/a", timeout=5)
        listener.expect("service.unregistered")


def test_a_stream_of_one_service(registry: Running) -> None:
    with listening(registry, "?service=s1&service=s2") as listener:
        listener.expect("connected")
        for service_id in ("s0", "s1", "s2"):
            registry.register(service_id)
        found = [listener.expect("service.registered")["data"]["id"] for _ in range(2)]
        assert found == ["s1", "s2"]


def test_resuming_loses_nothing_and_repeats_nothing(registry: Running) -> None:
    with listening(registry) as listener:
        last = listener.expect("connected")["id"]
    revisions = [registry.register(f"r{number}") for number in range(5)]
    with listening(registry, last=last) as listener:
        assert listener.expect("connected")["id"] == last
        first = [listener.expect("service.registered") for _ in range(2)]
    with listening(registry, last=first[-1]["id"]) as listener:
        listener.expect("connected")
        rest = [listener.expect("service.registered") for _ in range(3)]
    assert [event["revision"] for event in [*first, *rest]] == revisions


@pytest.mark.parametrize("last", ["other-1", "junk", "{epoch}-999999", "{epoch}-x"])
def test_what_cannot_be_resumed_says_resync(registry: Running, last: str) -> None:
    with listening(registry) as listener:
        epoch = listener.expect("connected")["data"]["epoch"]
    with listening(registry, last=last.replace("{epoch}", epoch)) as listener:
        listener.expect("connected")
        resync = listener.expect("resync")
        assert resync["data"]["reason"]
        revision = registry.register(f"after {last}".translate(NAMES))
        assert listener.expect("service.registered")["revision"] == revision


def test_a_new_start_of_the_store_is_a_new_epoch() -> None:
    with running() as registry, listening(registry) as listener:
        first = listener.expect("connected")["data"]["epoch"]
    with running() as registry, listening(registry) as listener:
        assert listener.expect("connected")["data"]["epoch"] != first


def test_a_durable_store_keeps_its_epoch(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/r.db"
    with running(store=store) as registry, listening(registry) as listener:
        epoch = listener.expect("connected")["data"]["epoch"]
        registry.register("a")
        last = listener.expect("service.registered")["id"]
    with running(store=store) as registry, listening(registry, last=last) as listener:
        assert listener.expect("connected")["data"]["epoch"] == epoch
        # What happened while no process was there to remember it is not known.
        listener.expect("resync")


def test_silent_streams_are_kept_open(registry: Running) -> None:
    with listening(registry, "?service=silent") as listener:
        listener.expect("connected")
        timer = threading.Timer(KEEP_ALIVE * 4, registry.register, ["silent"])
        timer.start()
        listener.expect("service.registered")
        assert listener.comments >= 2
        timer.join()


def test_a_quiet_stream_resumes_from_where_the_others_are(registry: Running) -> None:
    with listening(registry, "?service=quiet") as listener:
        first = listener.expect("connected")["id"]
        for number in range(3):
            revision = registry.register(f"busy-{number}")
        timer = threading.Timer(KEEP_ALIVE * 4, registry.register, ["quiet"])
        timer.start()
        listener.expect("service.registered")
        timer.join()
    with listening(registry, "?service=silence") as listener:
        listener.expect("connected")
        last = registry.register("busy-4")
        line = b""
        while line != f"id: {first.partition('-')[0]}-{last}\n".encode():
            line = listener.response.readline()
            assert line
    assert last > revision


@pytest.mark.parametrize(
    "ask",
    [
        b"GET /api/events HTTP/1.0\r\n\r\n",
        b"GET /api/events HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    ],
    ids=["1.0", "close"],
)
def test_every_kind_of_connection_gets_a_stream(registry: Running, ask: bytes) -> None:
    with socket.create_connection(("127.0.0.1", registry.port), 10) as connection:
        connection.sendall(ask)
        text = b""
        while b"event: connected" not in text:
            text += connection.recv(65_536)
        revision = registry.register(f"kind-{len(ask)}")
        while b'"revision":%d' % revision not in text:
            piece = connection.recv(65_536)
            assert piece
            text += piece
    assert (b"HTTP/1.0" in ask) is (b"transfer-encoding" not in text)


def test_a_slow_reader_is_told_to_read_anew(registry: Running) -> None:
    with socket.create_connection(("127.0.0.1", registry.port)) as slow:
        slow.sendall(b"GET /api/events?service=big HTTP/1.1\r\nHost: x\r\n\r\n")
        start = b""
        while b"event: connected" not in start:
            start += slow.recv(2048)
        body = registration("big", mode="standalone", metadata={"filler": "x" * 16_000})
        # It must be read soon after its end, which is cut short otherwise.
        for _ in range(100):
            for _ in range(16):
                reply = requests.post(f"{registry.url}/api/register", json=body)
            if registry.watchers() == 0:
                break
        reply = requests.post(f"{registry.url}/api/register", json=body)
        rest = b""
        slow.settimeout(10)
        while piece := slow.recv(1 << 20):
            rest = rest[-4096:] + piece
            if rest.endswith(b"0\r\n\r\n"):
                break
    assert b"event: resync" in rest[-4096:]
    # Whoever comes back with this id hears what came after it.
    last = re.findall(rb"id: (\w+-\d+)\nevent: resync", rest)[-1].decode()
    with listening(registry, "?service=big", last) as listener:
        assert listener.expect("connected")["id"] == last
        following = listener.expect("service.updated")
    position = int(last.rpartition("-")[2])
    assert following["revision"] == position + 1 <= reply.json()["revision"]


def test_bad_arguments_of_a_stream(registry: Running) -> None:
    reply = requests.get(f"{registry.url}/api/events?colour=red", timeout=5)
    assert reply.status_code == 400


def test_a_stopping_registry_ends_its_streams_and_waits() -> None:
    with (
        ThreadPoolExecutor(1) as pool,
        running() as registry,
        listening(registry) as listener,
    ):
        listener.expect("connected")
        waiting = pool.submit(get, registry, "/api/services?wait=100&revision=0")
        eventually(lambda: registry.watchers() == 2)
        started = time.monotonic()
        registry.process.send_signal(signal.SIGTERM)
        assert listener.next() is None
        assert waiting.result(5).status_code == 200
        assert registry.process.wait(5) == 0
        assert time.monotonic() - started < 5


# Waiting reads


def get(registry: Running, path: str) -> requests.Response:
    return requests.get(f"{registry.url}{path}", timeout=30)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def calm(registry: Running) -> None:
    """Return when nobody of an earlier test watches any more."""
    eventually(lambda: registry.watchers() == 0)


def waits(registry: Running, future: Future[Any]) -> None:
    """Return when the read is the only watcher, still unanswered."""
    eventually(lambda: registry.watchers() == 1)
    assert not future.done()


@pytest.mark.parametrize(
    "path",
    [
        "/api/services",
        "/api/services?capability=waited",
        "/api/services?metadata.region=eu",
        "/api/capabilities",
        "/api/capabilities/waited/services",
        "/api/capabilities/waited/explain",
    ],
)
def test_a_read_waits_for_what_it_lists(
    registry: Running, pool: ThreadPoolExecutor, path: str
) -> None:
    registry.register("waited", capabilities=["waited"])
    revision = int(get(registry, path).headers["X-Registry-Revision"])
    mark = "&" if "?" in path else "?"
    calm(registry)
    future = pool.submit(get, registry, f"{path}{mark}wait=20&revision={revision}")
    waits(registry, future)
    changed = registry.register("waited", capabilities=["waited"], version="2")
    reply = future.result(5)
    assert reply.status_code == 200
    assert int(reply.headers["X-Registry-Revision"]) >= changed
    assert reply.json()["revision"] >= changed
    calm(registry)


def test_an_unknown_capability_waits_too(
    registry: Running, pool: ThreadPoolExecutor
) -> None:
    revision = registry.register("someone")
    calm(registry)
    path = f"/api/capabilities/not-yet/services?wait=20&revision={revision}"
    future = pool.submit(get, registry, path)
    waits(registry, future)
    registry.register("someone-else", capabilities=["unrelated"])
    registry.register("newcomer", capabilities=["not-yet"])
    assert [each["id"] for each in future.result(5).json()["services"]] == ["newcomer"]


def test_what_has_changed_already_is_answered_at_once(registry: Running) -> None:
    revision = registry.register("early", capabilities=["early"])
    path = f"/api/capabilities/early/services?wait=20&revision={revision - 1}"
    started = time.monotonic()
    assert get(registry, path).json()["count"] == 1
    assert time.monotonic() - started < 5


def test_a_wait_that_is_over_answers_as_things_are(registry: Running) -> None:
    revision = registry.register("calm", capabilities=["calm"])
    path = f"/api/capabilities/calm/services?wait=0.2&revision={revision}"
    started = time.monotonic()
    reply = get(registry, path)
    assert time.monotonic() - started >= 0.2
    assert reply.json()["count"] == 1


def test_a_revision_from_another_life_is_answered_at_once(registry: Running) -> None:
    started = time.monotonic()
    assert get(registry, "/api/services?wait=20&revision=999999999").status_code == 200
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    "arguments", ["wait=5", "revision=5", "wait=x&revision=1", "wait=1&revision=-1"]
)
def test_bad_waits(registry: Running, arguments: str) -> None:
    reply = get(registry, f"/api/services?{arguments}")
    assert reply.status_code == 400


# Places


def test_places_for_watchers_are_bounded_and_calls_go_on() -> None:
    with running(max_watchers=3, max_watchers_per_client=9) as registry:
        listeners = [Listener(registry) for _ in range(3)]
        for path in ("/api/events", "/api/services?wait=5&revision=0"):
            reply = get(registry, path)
            if "wait" in path:
                registry.register("a")
                revision = registry.register("a")
                reply = get(registry, f"/api/services?wait=5&revision={revision}")
            assert reply.status_code == 503
            assert reply.json()["code"] == "too_many_watchers"
            assert int(reply.headers["Retry-After"]) > 0
        for _ in range(50):
            assert get(registry, "/api/services").status_code == 200
        for listener in listeners:
            listener.close()
        eventually(lambda: registry.watchers() == 0)


def test_places_of_the_vanished_come_back() -> None:
    with running(max_watchers=4, max_watchers_per_client=4) as registry:
        revision = registry.register("a", capabilities=["x"])
        path = f"/api/services?wait=100&revision={revision}"
        gone = [b"/api/events", b"/api/events", path.encode(), path.encode()]
        sockets = []
        for target in gone:
            vanishing = socket.create_connection(("127.0.0.1", registry.port))
            vanishing.sendall(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            sockets.append(vanishing)
        eventually(lambda: registry.watchers() == 4)
        for vanishing in sockets:
            vanishing.close()
        eventually(lambda: registry.watchers() == 0)


def test_a_waiting_reader_that_is_there_is_left_alone(
    pool: ThreadPoolExecutor,
) -> None:
    with running() as registry:
        revision = registry.register("a")
        path = f"/api/services?wait={KEEP_ALIVE * 6}&revision={revision}"
        started = time.monotonic()
        assert pool.submit(get, registry, path).result(20).status_code == 200
        assert time.monotonic() - started >= KEEP_ALIVE * 6
