"""The command watch: a view that stays current, or one line for each event."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final

import click
from rich.console import Console, RenderableType
from rich.live import Live

from modularity_client import (
    Event,
    EventStream,
    RegistryUnreachable,
    Service,
    Unavailable,
    calls,
)
from modularity_registry.cli import completion
from modularity_registry.cli.output import show_json_line
from modularity_registry.cli.session import Session, with_session
from modularity_registry.cli.watch import event_lines
from modularity_registry.cli.watch.screen import draw
from modularity_registry.cli.watch.view import WatchView

REFRESHES: Final = 2
"""So often in a second is the view drawn."""

PAUSE: Final = 1.0
"""Seconds until a list that could not be read is read again."""

TRIES: Final = 5
"""So often is a list read that is older than the stream: another replica's may be."""


@click.command()
@click.option(
    "--capability",
    "capabilities",
    multiple=True,
    metavar="NAME",
    shell_complete=completion.capabilities,
    help="Only what provides this; several are alternatives.",
)
@click.option(
    "--service",
    "services",
    multiple=True,
    metavar="ID",
    shell_complete=completion.ids,
    help="Only this one; several are alternatives.",
)
@with_session
def watch(
    session: Session, capabilities: tuple[str, ...], services: tuple[str, ...]
) -> None:
    """Watch services and their events, until Ctrl-C.

    On a terminal, it shows a view that stays current, and reconnects by itself when
    the connection is lost. In a pipe, it prints one line for each event; with --json,
    one JSON document.
    """
    with suppress(KeyboardInterrupt), _ended_by_sigterm():
        console = None if session.json else _terminal()
        with session.registry.events(
            capabilities=capabilities, services=services
        ) as stream:
            if console is None:
                _print(stream, session.json)
            else:
                _Live(session, stream, console, set(capabilities), set(services)).run()


def _terminal() -> Console | None:
    """Return the terminal, if there is one that can be drawn on."""
    if not sys.stdout.isatty():
        return None
    console = Console(highlight=False, markup=False, emoji=False)
    return None if console.is_dumb_terminal else console


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the program in order: a terminal is left as it was found."""

    def end(number: int, _: FrameType | None) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _print(stream: EventStream, as_json: bool) -> None:
    for event in stream:
        if as_json:
            show_json_line(event_lines.document(event))
        else:
            click.echo(event_lines.line(event))


class _Live:
    """Follows the stream in this thread, while rich draws in another."""

    def __init__(
        self,
        session: Session,
        stream: EventStream,
        console: Console,
        capabilities: set[str],
        services: set[str],
    ) -> None:
        self._session = session
        self._stream = stream
        self._console = console
        self._capabilities = capabilities
        self._services = services
        self._view = WatchView(self._wanted)

    def run(self) -> None:
        """Draw and follow; does not return, but raises what ends it."""
        with Live(
            console=self._console,
            screen=True,
            refresh_per_second=REFRESHES,
            get_renderable=self._draw,
            redirect_stdout=False,
            redirect_stderr=False,
        ):
            for event in self._stream:
                self._take(event)

    def _draw(self) -> RenderableType:
        height = self._console.size.height
        return draw(self._view.view(), self._session.url, height)

    def _wanted(self, service: Service) -> bool:
        if not self._capabilities and not self._services:
            return True
        offered = self._capabilities.intersection(service.capabilities)
        return bool(offered) or service.id in self._services

    def _take(self, event: Event) -> None:
        self._view.take(event)
        if event.type == "disconnected":
            self._view.lost(str(event.data.get("reason")))
        elif event.type in ("connected", "resync"):
            # The stream is there already: what the list lacks comes as an event.
            self._load(event.revision or 0)

    def _load(self, revision: int) -> None:
        left, pause = TRIES, threading.Event()
        while True:
            try:
                listed, _ = self._session.reply(calls.services)
            except (RegistryUnreachable, Unavailable) as error:
                self._view.lost(error.detail)
            else:
                left -= 1
                if listed.revision >= revision or not left:
                    self._view.load(listed, listed.revision)
                    return
            pause.wait(PAUSE)
