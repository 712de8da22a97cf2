"""Room for connections among the files that a process may open."""

import asyncio
import errno
import logging
import os
import resource
from typing import Any

import pytest

from modularity_registry.errors import BadSetting
from modularity_registry.serving.descriptors import DescriptorWatch, make_room


class Limits:
    """Stands in for the kernel's limit on open files."""

    def __init__(self, soft: int, hard: int) -> None:
        self.soft, self.hard = soft, hard

    def get(self, which: int) -> tuple[int, int]:
        return self.soft, self.hard

    def set(self, which: int, limits: tuple[int, int]) -> None:
        self.soft, self.hard = limits


def limited(monkeypatch: pytest.MonkeyPatch, soft: int, hard: int) -> Limits:
    limits = Limits(soft, hard)
    monkeypatch.setattr(resource, "getrlimit", limits.get)
    monkeypatch.setattr(resource, "setrlimit", limits.set)
    return limits


@pytest.mark.parametrize(
    ("soft", "hard", "connections", "tls", "expected"),
    [
        (1024, 65_536, 10_000, False, 11_024),
        (1024, 65_536, 10_000, True, 27_408),
        (1024, 20_000, 10_000, True, 20_000),  # fewer handshakes, all connections
        (65_536, 65_536, 10_000, False, 65_536),
        (1024, resource.RLIM_INFINITY, 10_000, False, 11_024),
        (256, 1024, 768, False, 1024),  # a small limit keeps a small reserve
    ],
)
def test_the_limit_is_raised_as_far_as_it_is_needed(
    monkeypatch: pytest.MonkeyPatch,
    soft: int,
    hard: int,
    connections: int,
    tls: bool,
    expected: int,
) -> None:
    limits = limited(monkeypatch, soft, hard)
    make_room(connections, tls)
    assert (limits.soft, limits.hard) == (expected, hard)


@pytest.mark.parametrize(("hard", "connections"), [(4096, 10_096), (1024, 769)])
def test_more_connections_than_there_is_room_for_are_refused(
    monkeypatch: pytest.MonkeyPatch, hard: int, connections: int
) -> None:
    limited(monkeypatch, hard, hard)
    with pytest.raises(
        BadSetting, match=rf"{connections} connections .*\({hard}\)"
    ) as (caught):
        make_room(connections, tls=False)
    for remedy in ("ulimit -n", "--max-connections", "--max-watchers"):
        assert remedy in caught.value.detail


def opened(path: str, flags: int) -> int:
    raise OSError(errno.EMFILE, "Too many open files")


def test_running_out_is_a_fault_until_there_are_some_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    watch = DescriptorWatch()
    watch.look()
    assert watch.fault is None
    with monkeypatch.context() as full:
        full.setattr(os, "open", opened)
        for _ in range(3):
            watch.look()
    assert watch.fault is not None and "ulimit -n" in watch.fault
    watch.look()
    assert watch.fault is None
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]


def test_a_loop_that_cannot_accept_is_one_line_however_often_it_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    watch = DescriptorWatch()
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(watch.on_exception)
    context: dict[str, Any] = {"exception": OSError(errno.EMFILE, "Too many")}
    for _ in range(3):
        loop.call_exception_handler(context)
    assert watch.fault is not None
    assert len(caplog.records) == 1
    loop.call_exception_handler({"message": "something else"})
    assert "something else" in caplog.text
    loop.close()
