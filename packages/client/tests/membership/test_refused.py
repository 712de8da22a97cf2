"""Members and streams whose token or place is another one by now."""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from client_support.harness import (
    Answer,
    Asker,
    RegistryProcess,
    ScriptedServer,
    eventually,
    problem,
)
from client_support.tokens import FIELDS, KEY, OTHER_KEY, Closed
from modularity_client import (
    AsyncRegistry,
    Membership,
    Registry,
    Unauthorized,
)
from modularity_client.errors import OwnedByAnother
from modularity_client.membership.membership import REFUSED_PAUSE, pause_after

Asking = Callable[..., Asker]
Scripted = Callable[..., ScriptedServer]

NEW = Answer(
    201,
    {"status": "registered", "service_id": "member", "revision": 1, "message": "m"},
)
OWNED = problem(409, "owned_by_another")


@pytest.fixture
def join(asking: Asking) -> Iterator[Callable[..., Membership]]:
    """Joins, by ``with`` or by ``async with``."""
    with ExitStack() as stack:

        def enter(url: str, token: str = "", **fields: Any) -> Membership:
            file = fields.pop("token_file", None)
            named = {"token_file": file} if file else {"token": token}
            ask = asking(url, **named)
            membership: Membership = ask.registry.join(**{**FIELDS, **fields})
            ask.enter(stack, membership)
            return membership

        yield enter


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    ours = (each for each in caplog.records if each.name == "modularity_client")
    return [each.getMessage() for each in ours if each.levelno >= logging.ERROR]


def test_a_member_shows_its_owner_key_for_as_long_as_it_is_there(
    shared: RegistryProcess, join: Callable[..., Membership], name: str
) -> None:
    failures: list[Exception] = []
    membership = join(shared.url, id=name, owner_key=KEY, on_error=failures.append)
    first = shared.get(f"/api/services/{name}")
    assert first["owner"] == "owner_key"
    eventually(
        lambda: shared.get(f"/api/services/{name}")["last_seen"] > first["last_seen"]
    )
    membership.leave()
    assert failures == []
    assert shared.status(name) is None


def test_a_member_goes_on_with_a_rotated_token(
    closed: Closed, join: Callable[..., Membership], name: str, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text(closed.token(name, "register"))
    membership = join(closed.url, token_file=file, id=name)
    assert membership.wait(20)
    with Registry(closed.url, closed.admin) as admin:
        file.write_text(admin.rotate_token(name).text)
    first = closed.found(name)
    eventually(lambda: closed.found(name).last_seen > first.last_seen)
    assert membership.error is None
    # It may register and not read, and takes its leave all the same.
    membership.leave()
    assert closed.found(name) is None


def test_a_member_whose_token_is_revoked_says_so_once_and_does_not_hammer(
    closed: Closed,
    join: Callable[..., Membership],
    name: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    failures: list[Exception] = []
    token = closed.token(name, "register")
    membership = join(closed.url, token, id=name, on_error=failures.append)
    assert membership.wait(20)
    with Registry(closed.url, closed.admin) as admin:
        admin.revoke_token(name)
    eventually(lambda: len(failures) >= 2)
    assert isinstance(membership.error, Unauthorized)
    (message,) = errors(caplog)
    assert "refuses" in message and "revoked" in message and token not in message


def test_a_member_of_an_id_that_another_has_waits_its_turn(
    shared: RegistryProcess,
    join: Callable[..., Membership],
    name: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Registry(shared.url) as owner:
        owner.put(**{**FIELDS, "id": name, "ttl": None}, owner_key=OTHER_KEY)
        membership = join(shared.url, id=name, owner_key=KEY)
        assert isinstance(membership.error, OwnedByAnother)
        assert not membership.registered
        assert "another" in errors(caplog)[0]
        owner.unregister(name, owner_key=OTHER_KEY)
        assert membership.wait(60)
        assert membership.error is None


def test_a_member_whose_id_was_taken_leaves_the_other_alone(
    scripted: Scripted, join: Callable[..., Membership]
) -> None:
    server = scripted(NEW, problem(404, "service_not_found"), OWNED)
    membership = join(server.url)
    eventually(lambda: "POST" in server.methods)
    eventually(lambda: not membership.registered)
    membership.leave()
    assert {each.target for each in server.requests[2:]} <= {
        "/api/heartbeat/member",
        "/api/services/member",
    }
    assert {each.method for each in server.requests[2:]} <= {"POST", "PUT"}


def test_who_is_refused_asks_less_and_less(
    scripted: Scripted, join: Callable[..., Membership]
) -> None:
    server = scripted(problem(403, "forbidden"), PUT=NEW)
    join(server.url)
    eventually(lambda: server.methods.count("POST") >= 3)
    before = server.methods.count("POST")
    # The pauses are 1 s at least by now, and double; a heartbeat would be every 0.5 s.
    assert not threading.Event().wait(3.0)
    assert server.methods.count("POST") - before <= 2
    assert min(pause_after(50, REFUSED_PAUSE) for _ in range(50)) >= REFUSED_PAUSE / 2


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_stream_ends_with_the_token_that_opened_it(
    closed: Closed, name: str, kind: str
) -> None:
    token = closed.token(f"{name[-50:]}{kind}", "read")
    admin = Registry(closed.url, closed.admin)

    async def awaited() -> None:
        async with AsyncRegistry(closed.url, token).events() as stream:
            assert (await anext(stream)).type == "connected"
            admin.revoke_token(f"{name[-50:]}{kind}")
            async with asyncio.timeout(60):
                async for event in stream:
                    assert event.type == "disconnected"

    with admin, pytest.raises(Unauthorized, match="revoked"):
        if kind == "async":
            asyncio.run(awaited())
        with Registry(closed.url, token).events() as stream:
            assert next(stream).type == "connected"
            admin.revoke_token(f"{name[-50:]}{kind}")
            for event in stream:
                assert event.type == "disconnected"


def test_a_stream_goes_on_with_a_rotated_token(
    closed: Closed, name: str, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text(closed.token(name, "read"))
    with (
        Registry(closed.url, closed.admin) as admin,
        Registry(closed.url, token_file=file).events(services=[name]) as stream,
    ):
        assert next(stream).type == "connected"
        file.write_text(admin.rotate_token(name).text)
        kinds = [next(stream).type]
        while kinds[-1] != "connected":
            kinds.append(next(stream).type)
        admin.put(**{**FIELDS, "id": name})
        assert next(stream).type == "service.registered"
