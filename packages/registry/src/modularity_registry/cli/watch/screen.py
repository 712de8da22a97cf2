"""Draws the live view so that it fits the window."""

from collections.abc import Iterable, Iterator
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from modularity_client import Service
from modularity_registry.cli.output import STYLES, count, names, plain
from modularity_registry.cli.render import duration
from modularity_registry.cli.watch.view import CONNECTING, EventLine, ViewContent

HEADER: Final = 3
"""Lines above the services: the connection, the counts, an empty one."""

EVENTS: Final = 10
"""Most lines of events; in a low window, a third of it."""

LOW: Final = 12
"""A window with fewer lines shows only the services."""


def draw(view: ViewContent, url: str, height: int) -> RenderableType:
    """Return the view in at most ``height`` lines."""
    events = min(EVENTS, height // 3, len(view.events)) if height >= LOW else 0
    # The headings of both parts, and the empty line between them.
    room = height - HEADER - events - (3 if events else 1)
    return Group(
        _connection(view, url),
        _counts(view),
        "",
        *_services(view.services, max(0, room)),
        *_latest(view.events[:events]),
    )


def _connection(view: ViewContent, url: str) -> RenderableType:
    line = Text(no_wrap=True, overflow="ellipsis")
    line.append(plain(url), style="bold")
    if view.fault == CONNECTING:
        line.append("  connecting", style="yellow")
    elif view.fault:
        message = f"  no connection for {duration(view.silent)}, reconnecting: "
        line.append(message, style="bold red").append(plain(view.fault), style="red")
    else:
        line.append("  live", style="bold green")
        line.append(f"  revision {view.revision}")
    return line


def _counts(view: ViewContent) -> RenderableType:
    line = Text(count(len(view.services), "service"), no_wrap=True, overflow="ellipsis")
    for status, style in STYLES.items():
        line.append(f"  {view.counts[status]:,} {status}", style=style)
    if view.calls:
        line.append(f"  {count(view.calls, 'reported call')}")
    line.append("  Ctrl-C to quit", style="dim")
    return line


def _services(services: tuple[Service, ...], room: int) -> Iterator[RenderableType]:
    # The last line counts those without room.
    visible = services if len(services) <= room else services[: max(0, room - 1)]
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for heading, ratio in (("ID", 3), ("STATUS", 1), ("LOCATION", 4), ("PROVIDES", 4)):
        table.add_column(heading, no_wrap=True, overflow="ellipsis", ratio=ratio)
    table.columns[1].min_width = len("unhealthy")
    for service in visible:
        style = STYLES.get(service.status, "")
        table.add_row(
            Text(plain(service.id)),
            Text(plain(service.status), style=style),
            Text(plain(service.location)),
            Text(names(service.capabilities)),
        )
    yield table
    if len(visible) < len(services):
        yield Text(f"and {len(services) - len(visible):,} more", style="dim")


def _latest(events: Iterable[EventLine]) -> Iterator[RenderableType]:
    lines = [
        Text(
            event.text,
            style=STYLES.get(event.status, ""),
            no_wrap=True,
            overflow="ellipsis",
        )
        for event in events
    ]
    if lines:
        yield ""
        yield Text("LATEST EVENTS", style="bold")
        yield from lines
