"""The command watch: a view that stays current, or one line for each event."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING, Final

import click

from modularity_registry.cli import completion
from modularity_registry.cli.output import show_json_line
from modularity_registry.cli.session import Asked, asks
from modularity_registry.cli.watch import event_lines
from modularity_registry.cli.watch.view import Board

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from modularity_client import Event, EventStream, Service

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
@asks
def watch(
    asked: Asked, capabilities: tuple[str, ...], services: tuple[str, ...]
) -> None:
    """Watch services and what happens to them, until Ctrl-C.

    On a terminal it is a view that stays current; it may be left open, and goes on by
    itself when the registry was away. Elsewhere it is one line for each event, with
    --json one of JSON.
    """
    with suppress(KeyboardInterrupt), _ended_by_sigterm():
        console = None if asked.json else _terminal()
        with asked.registry.events(
            capabilities=capabilities, services=services
        ) as stream:
            if console is None:
                _print(stream, asked.json)
            else:
                _Live(asked, stream, console, set(capabilities), set(services)).run()


def _terminal() -> "Console | None":
    """Return the terminal, if there is one that can be drawn on."""
    if not sys.stdout.isatty():
        return None
    from rich.console import Console

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


def _print(stream: "EventStream", as_json: bool) -> None:
    for event in stream:
        if as_json:
            show_json_line(event_lines.document(event))
        else:
            click.echo(event_lines.line(event))


class _Live:
    """Follows the stream in this thread, while rich draws in another."""

    def __init__(
        self,
        asked: Asked,
        stream: "EventStream",
        console: "Console",
        capabilities: set[str],
        services: set[str],
    ) -> None:
        self._asked = asked
        self._stream = stream
        self._console = console
        self._capabilities = capabilities
        self._services = services
        self._board = Board(self._wanted)

    def run(self) -> None:
        """Draw and follow; does not return, but raises what ends it."""
        from rich.live import Live

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

    def _draw(self) -> "RenderableType":
        from modularity_registry.cli.watch.screen import draw

        height = self._console.size.height
        return draw(self._board.view(), self._asked.url, height)

    def _wanted(self, service: "Service") -> bool:
        if not self._capabilities and not self._services:
            return True
        offered = self._capabilities.intersection(service.capabilities)
        return bool(offered) or service.id in self._services

    def _take(self, event: "Event") -> None:
        self._board.take(event)
        if event.type == "disconnected":
            self._board.lost(str(event.data.get("reason")))
        elif event.type in ("connected", "resync"):
            # The stream is there already: what the list lacks comes as an event.
            self._load(event.revision or 0)

    def _load(self, revision: int) -> None:
        from modularity_client import RegistryUnreachable, Unavailable, calls

        left, pause = TRIES, threading.Event()
        while True:
            try:
                listed, _ = self._asked.reply(calls.services)
            except (RegistryUnreachable, Unavailable) as error:
                self._board.lost(error.detail)
            else:
                left -= 1
                if listed.revision >= revision or not left:
                    self._board.load(listed, listed.revision)
                    return
            pause.wait(PAUSE)
