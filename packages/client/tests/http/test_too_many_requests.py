"""A registry that has had enough calls for now: waited for, or told of."""

import time
from collections.abc import Callable

import pytest

from client_support.harness import Answer, Asker, ScriptedServer, problem
from modularity_client import TooManyRequests, Unavailable

Asking = Callable[..., Asker]
Scripted = Callable[..., ScriptedServer]

FIELDS = {"id": "a", "name": "A", "capabilities": ["x"], "location": "y"}
CHANGE = {"status": "s", "service_id": "a", "revision": 8, "message": "done"}
NEW = Answer(201, CHANGE)


def test_a_call_over_the_rate_is_made_again_when_there_is_room(
    asking: Asking, scripted: Scripted
) -> None:
    server = scripted(problem(429, "too_many_requests", 1), NEW)
    before = time.monotonic()
    asking(server.url, timeout=20)("register", **FIELDS)
    assert time.monotonic() - before >= 1
    assert len(server.requests) == 2


@pytest.mark.parametrize("code", ["too_many_requests", "too_many_watchers_of_client"])
def test_one_that_would_have_to_wait_too_long_is_told_for_how_long(
    asking: Asking, scripted: Scripted, code: str
) -> None:
    server = scripted(problem(429, code, 61))
    with pytest.raises(TooManyRequests) as caught:
        asking(server.url, timeout=5)("services")
    assert isinstance(caught.value, Unavailable)
    assert (caught.value.retry_after, caught.value.code) == (61, code)
    assert len(server.requests) == 1


def test_a_proxys_429_is_one_as_well(asking: Asking, scripted: Scripted) -> None:
    server = scripted(Answer(429, b"<html>", {"Retry-After": "61"}))
    with pytest.raises(TooManyRequests) as caught:
        asking(server.url, timeout=5)("services")
    assert caught.value.retry_after == 61
