"""Draws a view so that it fits the window, whatever its size."""

from collections.abc import Iterable, Iterator
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from modularity_client import Service
from modularity_registry.cli.output import STYLES, count, names, plain
from modularity_registry.cli.render import duration
from modularity_registry.cli.watch.view import CONNECTING, Told, ViewContent

HEADER: Final = 3
"""Lines above the services: how it stands, the counts, an empty one."""

EVENTS: Final = 10
"""So many lines of events, or a third of a low window."""

LOW: Final = 12
"""A window with fewer lines has room for the services alone."""


def draw(view: ViewContent, url: str, height: int) -> RenderableType:
    """Return the view in at most ``height`` lines."""
    events = min(EVENTS, height // 3, len(view.events)) if height >= LOW else 0
    # The headings of both parts, and the line that parts them.
    room = height - HEADER - events - (3 if events else 1)
    return Group(
        _standing(view, url),
        _counts(view),
        "",
        *_services(view.services, max(0, room)),
        *_latest(view.events[:events]),
    )


def _standing(view: ViewContent, url: str) -> RenderableType:
    line = Text(no_wrap=True, overflow="ellipsis")
    line.append(plain(url), style="bold")
    if view.fault == CONNECTING:
        line.append("  connecting", style="yellow")
    elif view.fault:
        said = f"  no connection for {duration(view.silent)}, trying again: "
        line.append(said, style="bold red").append(plain(view.fault), style="red")
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
    line.append("  Ctrl-C ends", style="dim")
    return line


def _services(services: "tuple[Service, ...]", room: int) -> Iterator[RenderableType]:
    # The last line says how many there is no room for.
    shown = services if len(services) <= room else services[: max(0, room - 1)]
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for heading, ratio in (("ID", 3), ("STATUS", 1), ("LOCATION", 4), ("PROVIDES", 4)):
        table.add_column(heading, no_wrap=True, overflow="ellipsis", ratio=ratio)
    table.columns[1].min_width = len("unhealthy")
    for each in shown:
        style = STYLES.get(each.status, "")
        table.add_row(
            Text(plain(each.id)),
            Text(plain(each.status), style=style),
            Text(plain(each.location)),
            Text(names(each.capabilities)),
        )
    yield table
    if len(shown) < len(services):
        yield Text(f"and {len(services) - len(shown):,} more", style="dim")


def _latest(events: Iterable[Told]) -> Iterator[RenderableType]:
    told = [
        Text(
            each.line,
            style=STYLES.get(each.status, ""),
            no_wrap=True,
            overflow="ellipsis",
        )
        for each in events
    ]
    if told:
        yield ""
        yield Text("LATEST EVENTS", style="bold")
        yield from told
