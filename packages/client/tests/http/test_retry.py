"""What is asked again, and what must not be: against servers that misbehave."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from client_support.harness import (
    DRIP,
    DROP,
    HANG,
    HOST,
    Answer,
    Asker,
    ScriptedServer,
    problem,
)
from modularity_client import (
    NoHealthyProvider,
    RegistryError,
    RegistryUnreachable,
    RevisionMismatch,
    ServiceNotFound,
    StoreUnavailable,
    Unauthorized,
    Unavailable,
    calls,
)
from modularity_client.errors import BadReply, TooManyWatchers
from support.serving import free_port

Asking = Callable[..., Asker]
Scripted = Callable[..., ScriptedServer]

SERVICE: dict[str, Any] = {
    "id": "a",
    "name": "A",
    "version": "1.0.0",
    "capabilities": ["x"],
    "location": "here",
    "mode": "ipc",
    "status": "healthy",
    "metadata": {},
    "weight": 1,
    "ttl": None,
    "health": None,
    "revision": 7,
    "registered_at": "2026-01-02T03:04:05.678901Z",
    "last_seen": "2026-01-02T03:04:05.678901Z",
    "failed_checks": 0,
    "a-field-of-the-future": [1, 2],
}
FIELDS = {"id": "a", "name": "A", "capabilities": ["x"], "location": "y"}
CHANGE = {"status": "s", "service_id": "a", "revision": 8, "message": "done"}
READ, DONE = Answer(200, SERVICE), Answer(200, CHANGE)
NEW = Answer(201, CHANGE)
BEAT = Answer(200, {"status": "ok", "message": "m", "ttl": None})
COUNTED = Answer(200, {"message": "Invocation tracked"})
SEVERAL = Answer(200, {"recorded": 1, "unknown": []})
INVOCATION = {"consumer_id": "c", "provider_id": "a", "capability": "x"}

Case = tuple[str, tuple[Any, ...], dict[str, Any], Answer]

# Doing these twice is the same as doing them once.
REPEATED: list[Case] = [
    ("service", ("a",), {}, READ),
    ("capability", ("x",), {}, READ),
    ("put", (), FIELDS, NEW),
    ("drain", ("a",), {}, DONE),
    ("undrain", ("a",), {}, DONE),
    ("unregister", ("a",), {}, DONE),
    ("heartbeat", ("a",), {}, BEAT),
]
# These are not.
ONCE: list[Case] = [
    ("register", (), FIELDS, NEW),
    ("put", (), {**FIELDS, "revision": 7}, NEW),
    ("put", (), {**FIELDS, "only_new": True}, NEW),
    ("track_invocation", (), INVOCATION, COUNTED),
    ("track_invocations", ([INVOCATION],), {}, SEVERAL),
]


def _name(case: Case) -> str:
    return "-".join((case[0], *(case[2].keys() & {"revision", "only_new"})))


@pytest.mark.parametrize("case", REPEATED, ids=_name)
def test_a_lost_reply_is_asked_for_again_where_that_is_safe(
    asking: Asking, scripted: Scripted, case: Case
) -> None:
    name, arguments, named, answer = case
    server = scripted(DROP, answer)
    asking(server.url)(name, *arguments, **named)
    assert len(server.requests) == 2
    assert server.requests[0] == server.requests[1]


@pytest.mark.parametrize("case", ONCE, ids=_name)
def test_what_may_have_been_done_is_not_done_again(
    asking: Asking, scripted: Scripted, case: Case
) -> None:
    name, arguments, named, answer = case
    server, other = scripted(DROP, answer), scripted(answer)
    with pytest.raises(RegistryUnreachable) as caught:
        asking([server.url, other.url])(name, *arguments, **named)
    assert caught.value.sent
    assert (len(server.requests), len(other.requests)) == (1, 0)


@pytest.mark.parametrize("case", ONCE + REPEATED, ids=_name)
def test_what_never_left_is_asked_elsewhere_whatever_it_is(
    asking: Asking, scripted: Scripted, case: Case
) -> None:
    name, arguments, named, answer = case
    server = scripted(answer)
    nobody = f"http://{HOST}:{free_port()}"
    asking([nobody, server.url])(name, *arguments, **named)
    assert len(server.requests) == 1


@pytest.mark.parametrize("case", REPEATED, ids=_name)
def test_a_store_that_is_away_is_asked_again_after_its_time(
    asking: Asking, scripted: Scripted, case: Case
) -> None:
    name, arguments, named, answer = case
    server = scripted(problem(503, "store_unavailable", retry_after=1), answer)
    before = time.monotonic()
    asking(server.url, timeout=20)(name, *arguments, **named)
    assert len(server.requests) == 2
    assert time.monotonic() - before >= 1


@pytest.mark.parametrize("case", ONCE, ids=_name)
@pytest.mark.parametrize(
    "refusal",
    [problem(503, "store_unavailable", 0), problem(504, "outcome_unknown", 0)],
    ids=["unavailable", "unknown"],
)
def test_a_store_that_may_have_taken_it_is_not_asked_again(
    asking: Asking, scripted: Scripted, refusal: Answer, case: Case
) -> None:
    name, arguments, named, answer = case
    server = scripted(refusal, answer)
    with pytest.raises(StoreUnavailable):
        asking(server.url)(name, *arguments, **named)
    assert len(server.requests) == 1


def test_a_removal_of_unknown_outcome_succeeds_if_a_retry_finds_nothing(
    asking: Asking, scripted: Scripted
) -> None:
    server = scripted(
        problem(504, "outcome_unknown"), problem(404, "service_not_found")
    )
    asking(server.url)("unregister", "a")
    assert len(server.requests) == 2


@pytest.mark.parametrize("case", ONCE, ids=_name)
@pytest.mark.parametrize(
    "refusal",
    [
        problem(503, "too_many_connections", 0),
        problem(503, "too_many_uploads", 0),
        problem(429, "too_many_requests", 0),
    ],
    ids=["connections", "uploads", "requests"],
)
def test_what_was_refused_unread_is_sent_again(
    asking: Asking, scripted: Scripted, refusal: Answer, case: Case
) -> None:
    name, arguments, named, answer = case
    server = scripted(refusal, answer)
    asking(server.url)(name, *arguments, **named)
    assert len(server.requests) == 2


def test_a_wish_beyond_the_time_of_the_call_is_not_waited_for(
    asking: Asking, scripted: Scripted
) -> None:
    server = scripted(problem(503, "store_unavailable", retry_after=3600))
    before = time.monotonic()
    with pytest.raises(StoreUnavailable) as caught:
        asking(server.url, timeout=60)("heartbeat", "a")
    assert time.monotonic() - before < 30
    assert caught.value.retry_after == 3600
    assert len(server.requests) == 1


def test_attempts_are_counted(asking: Asking, scripted: Scripted) -> None:
    server = scripted(DROP)
    with pytest.raises(RegistryUnreachable) as caught:
        asking(server.url, timeout=60)("service", "a")
    assert len(server.requests) == 3
    assert [url for url, _ in caught.value.attempts] == [server.url] * 3


@pytest.mark.parametrize("answer", [HANG, DRIP], ids=["silent", "slow"])
@pytest.mark.parametrize("name", ["service", "heartbeat"])
def test_a_call_ends_in_time_whatever_the_server_does(
    asking: Asking, scripted: Scripted, name: str, answer: Answer
) -> None:
    server = scripted(answer)
    before = time.monotonic()
    with pytest.raises(RegistryUnreachable, match="too long") as caught:
        asking(server.url, timeout=0.5)(name, "a")
    # The rest is for a machine that is busy with something else.
    assert 0.4 <= time.monotonic() - before < 10
    assert caught.value.sent


def test_a_goodbye_that_was_heard_is_a_success_although_its_reply_was_lost(
    asking: Asking, scripted: Scripted
) -> None:
    server = scripted(DROP, problem(404, "service_not_found"))
    unregistered = asking(server.url)("unregister", "a")
    assert (unregistered.status, unregistered.revision) == ("unregistered", None)
    with pytest.raises(ServiceNotFound):
        asking(server.url)("unregister", "a")
    assert len(server.requests) == 3


def test_a_call_whose_reply_was_lost_has_none_beside_its_result(
    asking: Asking, scripted: Scripted
) -> None:
    server = scripted(DROP, problem(404, "service_not_found"))
    unregistered, reply = asking(server.url)("ask", calls.unregister("a"))
    assert (unregistered.status, reply) == ("unregistered", None)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (problem(503, "no_healthy_provider", 1), NoHealthyProvider),
        (problem(404, "service_not_found"), ServiceNotFound),
        (problem(412, "revision_mismatch"), RevisionMismatch),
        (problem(401, "unauthorized"), Unauthorized),
        (problem(500, "internal_error"), RegistryError),
        (problem(401, "a_code_of_the_future"), Unauthorized),
        (problem(503, "a_code_of_the_future"), Unavailable),
        (Answer(418, b"<html>"), RegistryError),
    ],
)
def test_an_answer_is_an_answer_and_nobody_else_is_asked(
    asking: Asking, scripted: Scripted, answer: Answer, kind: type[RegistryError]
) -> None:
    server, other = scripted(answer), scripted(READ)
    with pytest.raises(kind) as caught:
        asking([server.url, other.url])("capability", "x")
    assert caught.value.status == answer.status
    assert (len(server.requests), len(other.requests)) == (1, 0)


@pytest.mark.parametrize(
    "answer",
    [
        problem(503, "not_ready", 1),
        problem(503, "too_many_watchers", 1),
        problem(503, "store_unavailable", 1),
        Answer(502, b"<html>Bad Gateway</html>"),
        Answer(504, b""),
        Answer(503, b"<html>Service Unavailable</html>"),
        DROP,
    ],
)
def test_one_that_can_not_answer_is_passed_over(
    asking: Asking, scripted: Scripted, answer: Answer
) -> None:
    server, other = scripted(answer), scripted(READ)
    assert asking([server.url, other.url])("capability", "x").id == "a"
    assert (len(server.requests), len(other.requests)) == (1, 1)


def test_a_gateway_that_may_have_passed_it_on_is_not_asked_again(
    asking: Asking, scripted: Scripted
) -> None:
    server, other = scripted(Answer(502, b"<html>")), scripted(NEW)
    with pytest.raises(RegistryError) as caught:
        asking([server.url, other.url])("register", **FIELDS)
    assert (caught.value.status, other.requests) == (502, [])


def test_one_that_hangs_leaves_time_for_the_next(
    asking: Asking, scripted: Scripted
) -> None:
    server, other = scripted(HANG), scripted(READ)
    assert asking([server.url, other.url], timeout=1)("service", "a").id == "a"
    assert len(server.requests) == 1


def test_a_refusal_says_more_than_no_answer(asking: Asking, scripted: Scripted) -> None:
    server, nobody = scripted(problem(503, "too_many_watchers", 0)), free_port()
    with pytest.raises(TooManyWatchers):
        asking([server.url, f"http://{HOST}:{nobody}"])("services")


def test_nobody_there_is_told_by_url(asking: Asking) -> None:
    urls = [f"http://{HOST}:{free_port()}" for _ in range(2)]
    with pytest.raises(RegistryUnreachable) as caught:
        asking(urls)("register", **FIELDS)
    assert not caught.value.sent
    assert {url for url, _ in caught.value.attempts} == set(urls)
    assert all(url in str(caught.value) for url in urls)


@pytest.mark.parametrize("name", ["ready", "health"])
def test_asking_whether_it_lives_is_asked_once(
    asking: Asking, scripted: Scripted, name: str
) -> None:
    server = scripted(problem(503, "not_ready", 1))
    with pytest.raises(Unavailable):
        asking(server.url)(name)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "body", [b"<html>", [], None, {"id": "a"}, {**SERVICE, "last_seen": "yesterday"}]
)
def test_what_is_no_registry_is_recognised(
    asking: Asking, scripted: Scripted, body: Any
) -> None:
    server = scripted(Answer(200, body))
    with pytest.raises(BadReply, match="URL"):
        asking(server.url)("service", "a")


def test_a_redirection_is_not_followed(asking: Asking, scripted: Scripted) -> None:
    other = scripted(READ)
    server = scripted(Answer(302, b"", {"Location": other.url}))
    with pytest.raises(BadReply):
        asking(server.url, token="secret")("service", "a")
    assert other.requests == []


def test_a_wait_is_shortened_by_what_has_passed(
    asking: Asking, scripted: Scripted
) -> None:
    listed = Answer(200, {"services": [], "count": 0, "revision": 3})
    server = scripted(DROP, listed)
    asking(server.url)("services", wait=20, revision=2)
    first, second = (_wait(each.target) for each in server.requests)
    assert 19 < second <= first <= 20


def _wait(target: str) -> float:
    return float(target.partition("wait=")[2].partition("&")[0])
