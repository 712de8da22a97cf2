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
"""How often the view is drawn, per second."""

PAUSE: Final = 1.0
"""Seconds until a failed list is read again."""

TRIES: Final = 5
"""How often a list older than the stream is read: another replica may send one."""


@click.command()
@click.option(
    "--capability",
    "capabilities",
    multiple=True,
    metavar="NAME",
    shell_complete=completion.capabilities,
    help="Only services that provide this; repeat for alternatives.",
)
@click.option(
    "--service",
    "services",
    multiple=True,
    metavar="ID",
    shell_complete=completion.ids,
    help="Only this service; repeat for alternatives.",
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
                _Display(
                    session, stream, console, set(capabilities), set(services)
                ).run()


def _terminal() -> Console | None:
    """Return the terminal, if output goes to one that can be drawn on."""
    if not sys.stdout.isatty():
        return None
    console = Console(highlight=False, markup=False, emoji=False)
    return None if console.is_dumb_terminal else console


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the program in order, so that the terminal is restored."""

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


class _Display:
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
        self._view = WatchView(self._matches)

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
                self._handle(event)

    def _draw(self) -> RenderableType:
        height = self._console.size.height
        namespace = self._session.registry.settings.namespace
        place = f"{self._session.url}  {namespace}" if namespace else self._session.url
        return draw(self._view.content(), place, height)

    def _matches(self, service: Service) -> bool:
        if not self._capabilities and not self._services:
            return True
        provided = self._capabilities.intersection(service.capabilities)
        return bool(provided) or service.id in self._services

    def _handle(self, event: Event) -> None:
        self._view.add_event(event)
        if event.type == "disconnected":
            self._view.set_fault(str(event.data.get("reason")))
        elif event.type in ("connected", "resync"):
            # The stream is open already: what the list lacks comes as an event.
            self._load(event.revision or 0)

    def _load(self, revision: int) -> None:
        tries, pause = TRIES, threading.Event()
        while True:
            try:
                services, _ = self._session.reply(calls.services)
            except (RegistryUnreachable, Unavailable) as error:
                self._view.set_fault(error.detail)
            else:
                tries -= 1
                if services.revision >= revision or not tries:
                    self._view.load(services, services.revision)
                    return
            pause.wait(PAUSE)
