"""Replies are read to a limit, and loops that are closed leave nothing behind."""

import asyncio
import subprocess
import sys
from collections.abc import Callable

import httpx
import pytest

from client_support import SUPPORT
from client_support.harness import Answer, RegistryProcess, ScriptedServer
from modularity_client import AsyncRegistry, Forbidden, Registry, RegistryError
from modularity_client.errors import BadReply
from modularity_client.events.session import Session

LOOPS = SUPPORT / "loops.py"
LONG = {"x": "y" * 100_000}


def ask(url: str, kind: str, limit: int) -> RegistryError:
    with pytest.raises(RegistryError) as caught:
        if kind == "sync":
            with Registry(url, max_reply_bytes=limit) as registry:
                registry.stats()
        else:
            asyncio.run(_aask(url, limit))
    return caught.value


async def _aask(url: str, limit: int) -> None:
    async with AsyncRegistry(url, max_reply_bytes=limit) as registry:
        await registry.stats()


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_reply_over_the_limit_names_it(
    scripted: Callable[..., ScriptedServer], kind: str
) -> None:
    error = ask(scripted(Answer(200, LONG)).url, kind, 50_000)
    assert isinstance(error, BadReply)
    assert "50,000 bytes" in error.detail and "max_reply_bytes" in error.detail


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_reply_that_nobody_asked_to_compress_is_not_unpacked(
    scripted: Callable[..., ScriptedServer], kind: str
) -> None:
    server = scripted(Answer(200, {}, {"Content-Encoding": "gzip"}))
    error = ask(server.url, kind, 10**9)
    assert isinstance(error, BadReply) and "compressed (gzip)" in error.detail


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("headers", [{}, {"Content-Encoding": "gzip"}])
def test_a_refused_stream_is_refused_by_its_status_alone(
    scripted: Callable[..., ScriptedServer], kind: str, headers: dict[str, str]
) -> None:
    url = scripted(Answer(403, LONG, headers)).url

    async def read() -> None:
        async with AsyncRegistry(url, max_reply_bytes=50_000).events() as events:
            await anext(events)

    with pytest.raises(Forbidden, match="HTTP 403"):
        if kind == "async":
            asyncio.run(read())
        with Registry(url, max_reply_bytes=50_000).events() as stream:
            next(stream)


def test_a_failure_without_a_text_is_named_by_its_type() -> None:
    session = Session(Registry("http://a:1").settings)
    session.pause()
    session.note_failure(httpx.ReadTimeout(""))
    assert session.fault.endswith(": ReadTimeout")


def test_a_limit_is_above_zero() -> None:
    with pytest.raises(ValueError, match="max_reply_bytes"):
        Registry(max_reply_bytes=0)


def test_loops_that_are_closed_leave_no_connections(shared: RegistryProcess) -> None:
    # The sockets of a loop end when it is collected, with a warning that is asyncio's.
    command = [sys.executable, "-W", "ignore", str(LOOPS), shared.url]
    printed = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert printed.stdout.split() == ["0", "1"], printed.stderr
