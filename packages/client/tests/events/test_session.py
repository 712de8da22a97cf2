"""What a stream asks for, and what it makes of what comes. Without any connection."""

import json
from typing import Any

import httpx
import pytest

from modularity_client import InvalidRequest, Registry
from modularity_client.events.session import CHANGES, ConnectionLost, Session

STREAM = httpx.Headers({"Content-Type": "text/event-stream"})
PROBLEM = {"status": 400, "code": "invalid_request", "detail": "type is not known"}


def session(**options: Any) -> Session:
    settings = Registry("http://registry").settings
    return Session(settings, capabilities=["greet"], **options)


def request(stream: Session) -> httpx.Request:
    stream.pause()
    with httpx.Client() as client:
        return stream.request(client)


def frame(kind: str, event_id: str = "") -> bytes:
    data = json.dumps({"event": kind, "data": {}})
    head = f"id: {event_id}\n" if event_id else ""
    return f"{head}event: {kind}\ndata: {data}\n\n".encode()


def test_types_are_asked_for() -> None:
    asked = request(session(types=CHANGES)).url.params
    assert asked.get_list("type") == list(CHANGES)
    assert asked.get_list("capability") == ["greet"]
    assert "type" not in request(session()).url.params


def test_types_are_asked_for_even_if_the_names_are_too_many() -> None:
    stream = session(types=CHANGES)
    stream.capabilities = {f"capability-{number}" for number in range(1000)}
    assert set(request(stream).url.params) == {"type"}


def test_other_types_are_left_out_whatever_comes() -> None:
    stream = session(types=["service.updated"])
    stream.pause()
    text = frame("connected", "e-1") + frame("capability.invoked")
    text += frame("service.registered", "e-2") + frame("resync", "e-3")
    assert [event.type for event in stream.feed(text)] == ["connected", "resync"]
    assert stream.last_event_id == "e-3"


def test_a_keep_alive_tells_where_to_resume() -> None:
    stream = session()
    stream.pause()
    list(stream.feed(frame("connected", "e-1")))
    assert list(stream.feed(b": still here\nid: e-7\n\n")) == []
    assert request(stream).headers["Last-Event-ID"] == "e-7"


def test_a_registry_that_knows_no_types_is_asked_again_without() -> None:
    stream = session(types=CHANGES)
    first = request(stream)
    refusal = httpx.Response(400, json=PROBLEM, request=first)
    with pytest.raises(ConnectionLost, match="too old"):
        stream.check_response(refusal, refusal.content)
    assert "type" not in request(stream).url.params
    with pytest.raises(InvalidRequest):
        stream.check_response(refusal, refusal.content)
