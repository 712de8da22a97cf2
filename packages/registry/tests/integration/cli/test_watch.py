"""Watch: a view that stays current and survives the registry, or a line an event."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from modularity_client import Event, Service
from modularity_registry.cli.watch import event_lines
from modularity_registry.cli.watch.screen import draw
from modularity_registry.cli.watch.view import CONNECTING, WatchView
from support import TESTS
from support.cli import Served, Terminal, environ
from support.registry import eventually

Opened = Callable[..., Terminal]


@pytest.fixture
def served() -> Iterator[Served]:
    registry = Served()
    try:
        yield registry
    finally:
        registry.kill()


@pytest.fixture
def opened() -> Iterator[Opened]:
    with ExitStack() as stack:

        def start(*arguments: str, **size: int) -> Terminal:
            terminal = Terminal(*arguments, **size)
            stack.callback(terminal.close)
            return terminal

        yield start


def test_the_view_follows_survives_a_restart_and_ends_with_ctrl_c(
    served: Served, opened: Opened
) -> None:
    served.register("first")
    terminal = opened("watch", "--url", served.url)
    terminal.shows("live", "1 service ", "first", "healthy")
    served.register("second")
    served.run("drain", "first", "--reason", "upgrade")
    terminal.shows("2 services", "first healthy -> draining: upgrade", "1 draining")
    served.kill()
    terminal.shows("no connection for", "reconnecting", "first", "second")
    served.start()
    terminal.shows("live", "0 services", "events were missed")
    served.register("third")
    terminal.shows("1 service ", "third registered")
    terminal.press(b"\x03")
    assert terminal.end() == 0
    # The window is as it was before: its own screen, and a cursor.
    assert terminal.said.count("\x1b[?1049h") == terminal.said.count("\x1b[?1049l") == 1
    assert terminal.said.rindex("\x1b[?25h") > terminal.said.rindex("\x1b[?25l")


def test_the_view_shows_what_was_asked_for(served: Served, opened: Opened) -> None:
    served.register("talker", capabilities=["talk"])
    served.register("walker", capabilities=["walk"])
    served.register("other", capabilities=["stand"])
    arguments = ("--capability", "walk", "--service", "talker")
    terminal = opened("watch", "--url", served.url, *arguments)
    terminal.shows("2 services", "talker", "walker")
    served.register("walker", capabilities=["stand"])
    terminal.shows("1 service ", "walker updated")
    assert "other" not in terminal.frame()


def test_a_terminal_is_left_as_it_was_when_it_is_told_to_end(
    served: Served, opened: Opened
) -> None:
    terminal = opened("watch", "--url", served.url)
    terminal.shows("live")
    terminal.signal(signal.SIGTERM)
    assert terminal.end() == 128 + signal.SIGTERM
    assert terminal.said.count("\x1b[?1049l") == 1


class Piped:
    """Watch without a terminal; its lines so far are in ``lines``."""

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "support.programs.cli", "watch", *arguments],
            env=environ(PYTHONPATH=str(TESTS)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        self._said = b""

    @property
    def lines(self) -> list[str]:
        assert self._process.stdout is not None
        if not self._process.stdout.closed:
            self._said += self._process.stdout.read() or b""
        return self._said.decode().splitlines()

    def says(self, *parts: str) -> None:
        eventually(lambda: all(part in "\n".join(self.lines) for part in parts), 60)

    def interrupt(self) -> tuple[int, bytes]:
        self._process.send_signal(signal.SIGINT)
        code = self._process.wait(30)
        assert self._process.stderr is not None
        return code, self._process.stderr.read()

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


def test_without_a_terminal_it_is_a_line_an_event(served: Served) -> None:
    watch = Piped("--url", served.url)
    try:
        watch.says("following from revision 0")
        served.register("a")
        served.run("drain", "a", "--reason", "upgrade")
        served.run("unregister", "a")
        watch.says("a registered at", "a healthy -> draining: upgrade", "a unregist")
        served.kill()
        watch.says("disconnected", "reconnecting")
        assert watch.interrupt() == (0, b"")
    finally:
        watch.close()
    types = [line.split()[1] for line in watch.lines]
    assert types == [
        "connected",
        "service.registered",
        "service.status_changed",
        "service.unregistered",
        "disconnected",
    ]


def test_with_json_it_is_a_document_an_event(served: Served) -> None:
    watch = Piped("--url", served.url, "--service", "a", "--json")
    try:
        watch.says('"connected"')
        served.register("b")
        served.register("a")
        watch.says("service.registered")
        assert watch.interrupt() == (0, b"")
    finally:
        watch.close()
    connected, registered = map(json.loads, watch.lines)
    assert connected["event"] == "connected"
    assert registered.keys() == {"event", "timestamp", "revision", "data"}
    assert registered["data"]["id"] == "a"
    listed = served.get("/api/services?name=Hello")["services"]
    assert registered["data"] in listed


# What is drawn, without a terminal


def service(service_id: str, status: str = "healthy", revision: int = 1) -> Service:
    return Service.from_json(document(service_id, status, revision))


def document(service_id: str, status: str, revision: int) -> dict[str, Any]:
    return {
        **{"id": service_id, "name": service_id, "version": "1.0.0", "mode": "ipc"},
        **{"capabilities": ["c"], "location": "here", "status": status},
        **{"metadata": {}, "weight": 1, "ttl": None, "health": None},
        **{"revision": revision, "failed_checks": 0},
        "registered_at": "2026-01-02T03:04:05.000000Z",
        "last_seen": "2026-01-02T03:04:05.000000Z",
    }


def changed(service_id: str, status: str, revision: int, kind: str = "") -> Event:
    data = document(service_id, status, revision) | {"new_status": status}
    kind = kind or "service.status_changed"
    return Event("", kind, None, revision, Service.from_json(data), data)


def test_an_event_that_the_list_already_held_changes_nothing() -> None:
    view = WatchView(lambda service: True)
    assert view.content().fault == CONNECTING
    view.load([service("a", "unhealthy", 5), service("b")], 5)
    view.add_event(changed("a", "healthy", 5))
    assert [each.status for each in view.content().services] == ["unhealthy", "healthy"]
    view.add_event(changed("a", "healthy", 6))
    view.add_event(changed("b", "healthy", 7, "service.unregistered"))
    content = view.content()
    assert [(each.id, each.status) for each in content.services] == [("a", "healthy")]
    assert (content.revision, content.fault, len(content.events)) == (7, "", 3)


def test_calls_are_counted_and_do_not_push_events_away() -> None:
    view = WatchView(lambda service: True)
    view.add_event(Event("", "capability.invoked", data={"success": True}))
    assert (view.content().calls, view.content().events) == (1, ())


@pytest.mark.parametrize(("rows", "columns"), [(24, 80), (50, 200), (8, 30), (3, 20)])
def test_the_view_fits_every_window(rows: int, columns: int) -> None:
    from rich.console import Console

    view = WatchView(lambda service: True)
    services = [service(f"service-{n:03}-{'x' * 100}") for n in range(100)]
    view.load([*services, service("sick", "unhealthy")], 1)
    for number in range(50):
        view.add_event(changed(f"service-{number:03}", "draining", number + 2))
    view.set_fault("why " * 100)
    console = Console(width=columns, height=rows, force_terminal=True)
    with console.capture() as captured:
        console.print(draw(view.content(), "http://here", rows))
    lines = captured.get().splitlines()
    assert len(lines) <= max(rows, 5)
    if rows > 5:
        assert "sick" in captured.get()
        assert "more" in captured.get()


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (
            Event("", "resync", data={"reason": "too old"}),
            "events were missed: too old",
        ),
        (Event("", "service.invented", data={}), ""),
        (changed("a\x1b[2J", "healthy", 1, "service.updated"), "a\\x1b[2J updated"),
    ],
)
def test_events_in_words(event: Event, said: str) -> None:
    assert event_lines.sentence(event).startswith(said)
