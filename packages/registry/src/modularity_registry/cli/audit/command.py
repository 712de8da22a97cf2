"""The command audit: shows who did what, from a registry's audit file."""

import os
import re
import sys
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any, Final

import click

from modularity_registry import config
from modularity_registry.audit import reader as audit_reader
from modularity_registry.audit.reader import InvalidLine, Line, LineFilter
from modularity_registry.cli.audit.lines import page, sentence
from modularity_registry.cli.exit import PROGRAM, fail
from modularity_registry.cli.output import (
    count,
    plain,
    show,
    show_json_line,
    take_any_text,
)
from modularity_registry.clock import rfc3339
from modularity_registry.errors import BadSetting

DEFAULT_LIMIT: Final = 100
"""How many rows a table has without ``--limit``."""

MOST_REPORTED: Final = 3
"""How many unreadable lines are reported one by one; the rest is counted."""

_AGO = re.compile(r"([0-9]{1,6})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def _moment(
    _: click.Context, __: click.Parameter, value: str | None
) -> datetime | None:
    """Read a time: a duration before now, or RFC 3339; UTC if it has no offset."""
    if value is None:
        return None
    ago = _AGO.fullmatch(value)
    try:
        if ago is not None:
            seconds = int(ago[1]) * _SECONDS[ago[2]]
            return datetime.now(UTC) - timedelta(seconds=seconds)
        time = datetime.fromisoformat(value)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{value!r} is not a time; write how long ago, such as 90s, 15m, 2h or 7d,"
            " or a time such as 2026-01-02T15:04:05Z"
        ) from None


@click.command()
@click.option(
    "--file",
    "name",
    metavar="PATH",
    help="Audit file of the registry. [REGISTRY_AUDIT_FILE]",
)
@click.option("--service", metavar="ID", help="Only changes to this service.")
@click.option(
    "--who", metavar="NAME", help="Only changes by, or to, the token of this name."
)
@click.option(
    "--event",
    metavar="EVENT",
    help="Only this event or kind, such as access.refused or token.",
)
@click.option(
    "--since",
    metavar="TIME",
    callback=_moment,
    help="Only from this time on: 90s, 15m, 2h, 7d ago, or a time as in RFC 3339.",
)
@click.option("--until", metavar="TIME", callback=_moment, help="Only up to this time.")
@click.option(
    "-f", "--follow", is_flag=True, help="Print new lines as they come, until Ctrl-C."
)
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    metavar="N",
    help=f"Only the last N, or 0 for all. Default: {DEFAULT_LIMIT} in a table.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print the lines as they are in the file."
)
def audit(
    name: str | None,
    since: datetime | None,
    until: datetime | None,
    follow: bool,
    limit: int | None,
    as_json: bool,
    **filters: str | None,
) -> None:
    """Show who did what, from an audit file.

    Run it on the machine that has the file. Renamed files are read as well, oldest
    first.
    """
    path = _file(name)
    query = LineFilter(
        **filters,
        since=rfc3339(since) if since else "",
        until=rfc3339(until) if until else "~",
    )
    begin = since.timestamp() if since else 0.0
    take_any_text()
    rows = _Limit(limit, 0 if as_json else DEFAULT_LIMIT)
    reader = _Reader(query)
    with _explained(path):
        if follow:
            with suppress(KeyboardInterrupt):
                lines = audit_reader.follow(path, begin, Event().wait)
                _follow(reader, lines, rows, as_json)
        else:
            entries = reader.matching(audit_reader.lines(path, begin))
            _show(rows.last(entries), as_json)
    reader.report_rest()


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """End the program with one line if the file can't be read."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        fail(f"{plain(path)} can't be read: {error.strerror or error}")
    except (EOFError, zlib.error):
        fail(f"a compressed file beside {plain(path)} is damaged; unpack it by hand")


def _file(name: str | None) -> Path:
    if name is None:
        try:
            _, name = config.find("audit_file", os.environ)
        except BadSetting as error:
            fail(error.detail)
    if name in ("", config.OFF):
        raise click.UsageError(
            "Missing --file or REGISTRY_AUDIT_FILE; give the registry's --audit-file."
        )
    path = Path(name).resolve()
    if not path.is_file() and not path.with_name(f"{path.name}.1").is_file():
        fail(f"there is no file {plain(path)}; check the registry's --audit-file")
    return path


class _Reader:
    """Selects lines, and reports unreadable ones on standard error."""

    def __init__(self, query: LineFilter) -> None:
        self._query = query
        self._broken = 0

    def matching(self, lines: Iterable[Line]) -> Iterator[dict[str, Any]]:
        """Yield the lines that match."""
        for line in lines:
            entry = self.read(line)
            if entry is not None:
                yield entry

    def read(self, line: Line) -> dict[str, Any] | None:
        """Return a line's entry; None if it does not match or can't be read."""
        try:
            return self._query.read(line.data)
        except InvalidLine:
            self._broken += 1
            if self._broken <= MOST_REPORTED:
                _report(f"line {line.number} of {plain(line.file)} can't be read")
            return None

    def report_rest(self) -> None:
        """Report how many lines can't be read, if not each was reported."""
        if self._broken > MOST_REPORTED:
            _report(f"{count(self._broken, 'line')} can't be read")


def _report(message: str) -> None:
    click.echo(f"{PROGRAM}: {message}", err=True)


class _Limit:
    """Keeps the last entries."""

    def __init__(self, option: int | None, default: int) -> None:
        self._limit = default if option is None else option
        self._is_default = option is None

    def last(self, entries: Iterator[dict[str, Any]]) -> Iterable[dict[str, Any]]:
        """Return the last entries; report the others if there was no ``--limit``."""
        if not self._limit:
            return entries
        number = 0
        kept: deque[dict[str, Any]] = deque(maxlen=self._limit)
        for entry in entries:
            number += 1
            kept.append(entry)
        if self._is_default and number > self._limit:
            earlier = count(number - self._limit, "earlier line")
            _report(f"{earlier} not shown; --limit 0 shows all")
        return kept


def _show(entries: Iterable[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        for entry in entries:
            show_json_line(entry)
        return
    table = page(entries)
    if table is None:
        click.echo("No entries.")
    else:
        show(table)


def _follow(
    reader: _Reader,
    lines: Iterator[Line | None],
    limit: _Limit,
    as_json: bool,
) -> None:
    """Print the last entries of the file, then new ones as they come."""

    def print_entry(entry: dict[str, Any]) -> None:
        if as_json:
            show_json_line(entry)
        else:
            click.echo(sentence(entry))
        sys.stdout.flush()

    for entry in limit.last(reader.matching(iter(lines.__next__, None))):
        print_entry(entry)
    for line in lines:
        new_entry = reader.read(line) if line is not None else None
        if new_entry is not None:
            print_entry(new_entry)
