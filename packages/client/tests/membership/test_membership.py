"""Joining a registry: what happens while the process lives."""

import asyncio
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from client_support.harness import (
    HANG,
    HOST,
    Answer,
    Asker,
    RegistryProcess,
    ScriptedServer,
    eventually,
    problem,
)
from modularity_client import (
    AsyncRegistry,
    Membership,
    Registry,
    RegistryError,
)
from modularity_client.errors import AddressRefused
from modularity_client.membership import announcement
from modularity_client.membership.announcement import announce
from modularity_client.membership.membership import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    pause_after,
)
from modularity_client.membership.shutdown import SHUTDOWN_TIMEOUT
from support.serving import free_port

FIELDS: dict[str, Any] = {
    "id": "member",
    "name": "A",
    "capabilities": ["x"],
    "location": "y",
    "mode": "ipc",
    "ttl": 1.5,
}
REGISTERED = {"status": "registered", "service_id": "member", "revision": 1}
NEW = Answer(201, {**REGISTERED, "message": "m"})
Join = Callable[..., Membership]


@pytest.fixture
def registry(own: Callable[[], RegistryProcess]) -> RegistryProcess:
    process = own()
    process.start()
    return process


@pytest.fixture
def join(asking: Callable[..., Asker]) -> Iterator[Join]:
    """Joins, by ``with`` or by ``async with``; the test may leave earlier."""
    with ExitStack() as stack:

        def enter(url: str, timeout: float = 5.0, **fields: Any) -> Membership:
            ask = asking(url, timeout=timeout)
            membership: Membership = ask.registry.join(**{**FIELDS, **fields})
            ask.enter(stack, membership)
            return membership

        yield enter


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    ours = (each for each in caplog.records if each.name == "modularity_client")
    return [each.getMessage() for each in ours if each.levelno >= logging.WARNING]


def test_a_member_is_there_while_the_context_lasts(
    registry: RegistryProcess, asking: Callable[..., Asker]
) -> None:
    ask = asking(registry.url)
    with ExitStack() as stack:
        membership = ask.registry.join(**FIELDS)
        ask.enter(stack, membership)
        assert membership.registered
        assert membership.wait(0)
        service = registry.get("/api/services/member")
        assert (service["location"], service["ttl"]) == ("y", 1.5)
    assert not membership.registered
    assert registry.status("member") is None
    with pytest.raises(RuntimeError, match="once"):
        membership.start()


def test_heartbeats_keep_the_lease(registry: RegistryProcess, join: Join) -> None:
    join(registry.url, ttl=1)
    first = registry.get("/api/services/member")

    def seen_later() -> bool:
        service = registry.get("/api/services/member")
        assert service["status"] == "healthy"
        assert service["registered_at"] == first["registered_at"]
        return bool(service["last_seen"] > first["last_seen"])

    eventually(seen_later)
    first = registry.get("/api/services/member")
    eventually(seen_later)


def test_before_it_goes_callers_are_sent_elsewhere(
    registry: RegistryProcess, join: Join
) -> None:
    membership = join(registry.url, grace=1.0)
    leaving = threading.Thread(target=membership.leave)
    leaving.start()
    eventually(lambda: registry.status("member") == "draining")
    leaving.join(20)
    assert registry.status("member") is None


def test_who_joins_is_told_where_to_look(
    registry: RegistryProcess, join: Join, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "modularity_client"):
        join(registry.url)
    location = registry.get("/api/services/member")["location"]
    url = registry.url
    assert caplog.messages == [
        f"member: joined {url} as {location}; see {url}/#/services/member"
    ]


def test_without_logging_the_line_goes_to_stderr(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announcement.log, "hasHandlers", lambda: False)
    announce("a/b", "http://127.0.0.1:1", "https://name:pw@r")
    assert capsys.readouterr().err == (
        "a/b: joined https://***@r as http://127.0.0.1:1;"
        " see https://***@r/#/services/a%2Fb\n"
    )


def test_a_second_process_with_a_live_id_is_warned(
    registry: RegistryProcess, join: Join, caplog: pytest.LogCaptureFixture
) -> None:
    join(registry.url)
    first = registry.get("/api/services/member")["location"]
    join(registry.url, location="z")
    [warning] = warnings(caplog)
    assert warning.startswith("member: ") and first in warning


def test_a_registry_that_has_forgotten_the_member_is_told_again(
    registry: RegistryProcess, join: Join
) -> None:
    times: list[object] = []
    membership = join(registry.url, on_registered=times.append)
    registry.kill()
    registry.start()
    eventually(lambda: registry.status("member") == "healthy")
    eventually(lambda: len(times) == 2)
    assert membership.registered


def test_a_registry_that_is_down_does_not_stop_the_service(
    own: Callable[[], RegistryProcess], join: Join, caplog: pytest.LogCaptureFixture
) -> None:
    registry = own()
    failures: list[RegistryError] = []
    with caplog.at_level(logging.INFO, "modularity_client"):
        membership = join(registry.url, on_error=failures.append)
        assert not membership.registered
        eventually(lambda: len(failures) >= 3)
        (warning,) = warnings(caplog)
        assert registry.url in warning
        registry.start()
        assert membership.wait(LONGEST_PAUSE + 10)
    assert registry.status("member") == "healthy"
    assert "recovered; the service is registered" in caplog.text


def test_a_registry_that_hangs_holds_nobody_up(
    scripted: Callable[..., ScriptedServer], asking: Callable[..., Asker]
) -> None:
    ask = asking(scripted(HANG).url, timeout=0.5)
    with ExitStack() as stack:
        ask.enter(stack, ask.registry.join(**FIELDS))
    # Both ends of the context came: pytest would have waited for ever otherwise.
    assert not ask.registry.join(**FIELDS).registered


def test_what_the_service_says_of_itself_holds_until_it_says_otherwise(
    registry: RegistryProcess, join: Join
) -> None:
    membership = join(registry.url, ttl=1)
    membership.report(unhealthy=True, note="the disk is full")
    eventually(lambda: registry.status("member") == "unhealthy")
    seen = registry.get("/api/services/member")["last_seen"]
    eventually(lambda: bool(registry.get("/api/services/member")["last_seen"] > seen))
    explained = registry.get("/api/capabilities/x/explain")["providers"]
    assert "the disk is full" in explained[0]["reasons"][0]
    registry.kill()
    registry.start()
    eventually(lambda: registry.status("member") == "unhealthy")
    membership.report(warning=True, note="the disk is nearly full")
    eventually(lambda: registry.status("member") == "warning")
    membership.report(unhealthy=False)
    eventually(lambda: registry.status("member") == "healthy")


def test_what_it_said_before_it_was_registered_counts(
    own: Callable[[], RegistryProcess], join: Join
) -> None:
    registry = own()
    # No heartbeat of its own for minutes.
    join(registry.url, ttl=3600).report(unhealthy=True, note="warming up")
    registry.start()
    eventually(lambda: registry.status("member") == "unhealthy")


def test_one_that_is_forgotten_and_then_refused_is_not_registered(
    scripted: Callable[..., ScriptedServer], join: Join
) -> None:
    missing, refused = problem(404, "not_registered"), problem(400, "address_refused")
    membership = join(scripted(NEW, refused, POST=missing, GET=missing).url)
    assert membership.registered
    eventually(lambda: not membership.registered)


def test_one_that_was_replaced_leaves_its_successor_alone(
    registry: RegistryProcess, join: Join, asking: Callable[..., Asker]
) -> None:
    membership = join(registry.url)
    asking(registry.url)("put", **{**FIELDS, "location": "another"})
    membership.leave()
    assert registry.get("/api/services/member")["location"] == "another"
    assert registry.status("member") == "healthy"


def test_one_that_takes_over_at_the_same_place_is_left_alone(
    registry: RegistryProcess, join: Join
) -> None:
    old = join(registry.url)
    new = join(registry.url)
    old.leave()
    assert registry.status("member") == "healthy"
    new.leave()
    assert registry.status("member") is None


def test_a_change_of_its_health_does_not_make_it_another(
    registry: RegistryProcess, join: Join
) -> None:
    membership = join(registry.url)
    membership.report(unhealthy=True)
    eventually(lambda: registry.status("member") == "unhealthy")
    membership.leave()
    assert registry.status("member") is None


def test_a_change_between_drain_and_goodbye_does_no_harm(
    registry: RegistryProcess, join: Join, asking: Callable[..., Asker]
) -> None:
    membership = join(registry.url, grace=1.0)
    leaving = threading.Thread(target=membership.leave)
    leaving.start()
    eventually(lambda: registry.status("member") == "draining")
    asking(registry.url)("drain", "member", reason="another one")
    leaving.join(20)
    assert registry.status("member") is None


def test_a_refused_registration_is_reported_and_tried_again(
    registry: RegistryProcess, join: Join, caplog: pytest.LogCaptureFixture
) -> None:
    failures: list[RegistryError] = []
    membership = join(
        registry.url,
        location="http://169.254.169.254",
        mode="http",
        on_error=failures.append,
    )
    eventually(lambda: len(failures) >= 2)
    assert {type(each) for each in failures} == {AddressRefused}
    assert len(warnings(caplog)) == 1
    assert not membership.registered


def test_a_mode_that_there_is_not_fails_at_once(registry: RegistryProcess) -> None:
    with pytest.raises(ValueError, match="'htp' is not one of http, tcp"):
        Registry(registry.url).join(
            id="a",
            name="A",
            capabilities=["x"],
            location="y",
            mode="htp",  # type: ignore[arg-type]  # that is the test
        )


def test_joining_outside_the_main_thread_warns_of_sigterm(
    registry: RegistryProcess, join: Join, caplog: pytest.LogCaptureFixture
) -> None:
    def join_and_leave() -> None:
        join(registry.url).leave()

    thread = threading.Thread(target=join_and_leave)
    thread.start()
    thread.join(30)
    [warning] = [line for line in warnings(caplog) if "SIGTERM" in line]
    assert "leave()" in warning


def test_joining_in_the_main_thread_does_not(
    registry: RegistryProcess, join: Join, caplog: pytest.LogCaptureFixture
) -> None:
    join(registry.url).leave()
    assert warnings(caplog) == []


def test_a_membership_shows_what_it_is(registry: RegistryProcess, join: Join) -> None:
    membership = join(registry.url)
    assert repr(membership) == "Membership('member', registered)"
    membership.leave()
    assert repr(membership) == "Membership('member', not registered)"


def test_a_callback_that_fails_does_no_harm(
    registry: RegistryProcess, join: Join, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: object) -> None:
        raise ZeroDivisionError("a fault of the callback's own")

    membership = join(registry.url, on_registered=fail)
    assert membership.wait(20)
    eventually(lambda: "a fault of the callback's own" in caplog.text)
    eventually(lambda: registry.status("member") == "healthy")


def test_a_mistake_in_the_fields_is_raised_at_once() -> None:
    registry = Registry("http://x")
    with pytest.raises(TypeError, match="colour"):
        registry.join(**{**FIELDS, "colour": "red"})
    with pytest.raises(TypeError, match="location"):
        registry.join(**{k: v for k, v in FIELDS.items() if k != "location"})


def test_it_joins_once_it_listens(registry: RegistryProcess, join: Join) -> None:
    port = free_port()
    location = f"tcp://{HOST}:{port}"
    membership = join(registry.url, location=location, mode="tcp", when_listening=True)
    assert not membership.wait(0.3)
    with socket.create_server((HOST, port)):
        assert membership.wait(20)


def test_it_may_leave_before_it_listens(registry: RegistryProcess, join: Join) -> None:
    location = f"tcp://{HOST}:{free_port()}"
    membership = join(registry.url, location=location, mode="tcp", when_listening=True)
    membership.leave()
    assert registry.status("member") is None


def test_a_registry_that_never_remembers_is_not_pestered(
    scripted: Callable[..., ScriptedServer], join: Join
) -> None:
    missing = problem(404, "not_registered")
    server = scripted(missing, PUT=NEW)
    join(server.url, ttl=3)
    eventually(lambda: server.methods.count("PUT") >= 2)
    before = server.methods.count("POST")
    assert not threading.Event().wait(1.5)
    # Each is followed by a pause of at least 0.8 s.
    assert server.methods.count("POST") - before <= 2


def test_a_lost_registration_is_unregistered_as_well(
    scripted: Callable[..., ScriptedServer], asking: Callable[..., Asker]
) -> None:
    server = scripted(HANG)
    ask = asking(server.url, timeout=0.5)
    with ExitStack() as stack:
        ask.enter(stack, ask.registry.join(**FIELDS))
        eventually(lambda: "PUT" in server.methods)
    # It asks whose the service is; there is no answer to this either.
    eventually(lambda: "GET" in server.methods)


def test_one_that_is_cancelled_while_it_enters_leaves(
    scripted: Callable[..., ScriptedServer],
) -> None:
    server = scripted(HANG)

    async def main() -> Membership:
        membership = AsyncRegistry(server.url).join(**FIELDS)
        entering = asyncio.create_task(membership.__aenter__())
        while not server.requests:
            await asyncio.sleep(0.01)
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entering
        return membership

    membership = asyncio.run(main())
    assert membership.ended(30)
    membership.leave()


def test_the_handler_goes_with_the_last_member(
    registry: RegistryProcess, join: Join, asking: Callable[..., Asker]
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    ask = asking(registry.url)
    with ExitStack() as outer, ExitStack() as inner:
        for stack, service_id in ((outer, "a"), (inner, "b")):
            ask.enter(stack, ask.registry.join(**{**FIELDS, "id": service_id}))
        during = signal.getsignal(signal.SIGTERM)
        assert during is not before
        inner.close()
        assert signal.getsignal(signal.SIGTERM) is during
    assert signal.getsignal(signal.SIGTERM) is before


def test_pauses_grow_to_a_bound_and_differ() -> None:
    assert all(FIRST_PAUSE / 2 <= pause_after(1) <= FIRST_PAUSE for _ in range(50))
    assert all(pause_after(n) <= LONGEST_PAUSE for n in range(1, 2000, 7))
    assert min(pause_after(50) for _ in range(50)) >= LONGEST_PAUSE / 2
    assert len({pause_after(5) for _ in range(50)}) > 10
    assert SHUTDOWN_TIMEOUT < 10  # a process manager kills after that
