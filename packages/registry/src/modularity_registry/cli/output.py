"""What a person sees: tables that fit, colours that mean something, JSON for programs.

What services say of themselves is shown as text: it can't move the cursor or change a
colour.
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

# Text, or text and its style.
Cell = str | tuple[str, str]

STYLES: Final = {"healthy": "green", "unhealthy": "bold red", "draining": "yellow"}

_WIDE: Final = 10_000
"""Columns of what is no terminal: nothing is folded there, so that grep finds it."""


def plain(value: object) -> str:
    """Return ``value`` in one line without anything that a terminal would obey."""
    text = str(value)
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode()
        for each in text
    )


def take_any_text() -> None:
    """Have standard output write what its encoding lacks as codes, not fail."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def status_cell(status: object) -> tuple[str, str]:
    """Return a status in its colour."""
    word = plain(status)
    return word, STYLES.get(word, "")


def compact(value: Any) -> str:
    """Return a JSON value as people would write it: text bare, the rest as JSON."""
    return plain(value if isinstance(value, str) else json.dumps(value))


def pairs(values: Any) -> str:
    """Return an object as ``key=value``, by key; ``-`` for an empty one."""
    shown = (f"{plain(key)}={compact(values[key])}" for key in sorted(values))
    return ", ".join(shown) or "-"


def names(values: Iterable[Any]) -> str:
    """Return a list of names; ``-`` for an empty one."""
    return ", ".join(map(plain, values)) or "-"


def moment(text: object) -> str:
    """Return the API's time without its microseconds; ``-`` for none."""
    if not isinstance(text, str):
        return "-"
    whole, dot, _ = plain(text).partition(".")
    return f"{whole}Z" if dot else whole


def milliseconds(value: float | None) -> str:
    """Return a latency; ``-`` where it is not known."""
    return "-" if value is None else f"{value:,.1f} ms"


def percent(share: float | None) -> str:
    """Return a share of 1 as a percentage; ``-`` where it is not known."""
    return "-" if share is None else f"{share:.1%}".replace(".0%", "%")


def count(number: int, what: str) -> str:
    """Return a count as people say it."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def show_json(value: Any) -> None:
    """Print one JSON document."""
    click.echo(json.dumps(value, indent=2))


def show_json_line(value: Any) -> None:
    """Print a JSON value as one line, for one of many."""
    click.echo(json.dumps(value, separators=(",", ":")))


def show(*parts: RenderableType) -> None:
    """Print what rich renders; whole lines, without blanks at their ends."""
    width = None if sys.stdout.isatty() else _WIDE
    console = Console(width=width, highlight=False, markup=False, emoji=False)
    with console.capture() as captured:
        for part in parts:
            console.print(part)
    click.echo("\n".join(_stripped(captured.get())))


def _stripped(text: str) -> Iterator[str]:
    return (line.rstrip() for line in text.rstrip("\n").split("\n"))


def table(headings: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Table:
    """Return a table; what is too long for the terminal is folded, not cut."""
    made = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for heading in headings:
        made.add_column(heading, overflow="fold")
    for row in rows:
        made.add_row(*map(_text, row))
    return made


def facts(rows: Iterable[tuple[str, Cell]]) -> Table:
    """Return names with what they stand for, one a line."""
    made = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False)
    made.add_column(style="bold", no_wrap=True)
    made.add_column(overflow="fold")
    for name, cell in rows:
        made.add_row(name, _text(cell))
    return made


def _text(cell: Cell) -> Any:
    text, style = (cell, "") if isinstance(cell, str) else cell
    return Text(text, style=style, overflow="fold")
