"""Output: tables for people, JSON for programs.

Texts of services are escaped: they can't move the cursor or change a colour.
"""

import io
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import click
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from modularity_registry.model.printable import printable

# Text, or text and its style.
Cell = str | tuple[str, str]

STYLES: Final = {
    "healthy": "green",
    "warning": "magenta",
    "unhealthy": "bold red",
    "draining": "yellow",
}

_WIDE: Final = 10_000
"""Columns in a pipe: nothing is folded there, so that grep finds it."""


def plain(value: object) -> str:
    """Return ``value`` in one line, with what is not `printable` escaped."""
    return printable(str(value))


def take_any_text() -> None:
    """Make standard output escape what its encoding lacks, instead of failing."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def status_cell(status: object) -> tuple[str, str]:
    """Return a status in its colour."""
    word = plain(status)
    return word, STYLES.get(word, "")


def compact(value: Any) -> str:
    """Return a JSON value for people: strings without quotes, the rest as JSON."""
    return plain(value if isinstance(value, str) else json.dumps(value))


def pairs(values: Any) -> str:
    """Return an object as ``key=value``, by key; ``-`` for an empty one."""
    texts = (f"{plain(key)}={compact(values[key])}" for key in sorted(values))
    return ", ".join(texts) or "-"


def names(values: Iterable[Any]) -> str:
    """Return a list of names; ``-`` for an empty one."""
    return ", ".join(map(plain, values)) or "-"


def moment(text: object) -> str:
    """Return the API's time without microseconds; ``-`` for none."""
    if not isinstance(text, str):
        return "-"
    whole, dot, _ = plain(text).partition(".")
    return f"{whole}Z" if dot else whole


def milliseconds(value: float | None) -> str:
    """Return a latency; ``-`` for none."""
    return "-" if value is None else f"{value:,.1f} ms"


def percent(share: float | None) -> str:
    """Return a share of 1 as a percentage; ``-`` for none."""
    return "-" if share is None else f"{share:.1%}".replace(".0%", "%")


def count(number: int, noun: str) -> str:
    """Return a number and its noun, as ``2 services``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def show_json(value: Any) -> None:
    """Print one JSON document."""
    click.echo(json.dumps(value, indent=2))


def show_json_line(value: Any) -> None:
    """Print a JSON value on one line."""
    click.echo(json.dumps(value, separators=(",", ":")))


def show(*parts: RenderableType) -> None:
    """Print what rich renders, without spaces at the ends of lines."""
    width = None if sys.stdout.isatty() else _WIDE
    console = Console(width=width, highlight=False, markup=False, emoji=False)
    with console.capture() as captured:
        for part in parts:
            console.print(part)
    click.echo("\n".join(_stripped(captured.get())))


def _stripped(text: str) -> Iterator[str]:
    return (line.rstrip() for line in text.rstrip("\n").split("\n"))


def table(headings: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Table:
    """Return a table; cells too long for the terminal are folded, not cut."""
    grid = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for heading in headings:
        grid.add_column(heading, overflow="fold")
    for row in rows:
        grid.add_row(*map(_text, row))
    return grid


def facts(rows: Iterable[tuple[str, Cell]]) -> Table:
    """Return a table of names and values, without headings."""
    grid = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False)
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, cell in rows:
        grid.add_row(name, _text(cell))
    return grid


def _text(cell: Cell) -> Any:
    text, style = (cell, "") if isinstance(cell, str) else cell
    return Text(text, style=style, overflow="fold")
