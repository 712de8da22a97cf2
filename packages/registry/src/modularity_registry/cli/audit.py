"""The command audit: who did what, from the file that a registry writes."""

import re
import sys
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any, Final

import click

from modularity_registry.audit import reader as audit_reader
from modularity_registry.audit.reader import Broken, Line, Wanted
from modularity_registry.cli.audit_lines import page, sentence
from modularity_registry.cli.exit import PROGRAM, fail
from modularity_registry.cli.output import (
    count,
    plain,
    show,
    show_json_line,
    take_any_text,
)
from modularity_registry.clock import rfc3339

SHOWN: Final = 100
"""So many lines a table has, unless more are asked for."""

BROKEN_TOLD: Final = 3
"""So many of those that can't be read are told of one by one."""

_AGO = re.compile(r"([0-9]{1,6})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def _moment(
    _: click.Context, __: click.Parameter, value: str | None
) -> datetime | None:
    """Read a time: so long ago, or RFC 3339; in UTC where it does not say."""
    if value is None:
        return None
    ago = _AGO.fullmatch(value)
    try:
        if ago is not None:
            seconds = int(ago[1]) * _SECONDS[ago[2]]
            return datetime.now(UTC) - timedelta(seconds=seconds)
        given = datetime.fromisoformat(value)
        return (given if given.tzinfo else given.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{value!r} is no time; write so long ago, as 90s, 15m, 2h or 7d, or a time"
            " such as 2026-01-02T15:04:05Z"
        ) from None


@click.command()
@click.option(
    "--file",
    "name",
    metavar="PATH",
    envvar="REGISTRY_AUDIT_FILE",
    help="The file that the registry writes. [REGISTRY_AUDIT_FILE]",
)
@click.option("--service", metavar="ID", help="Only what was done to this service.")
@click.option("--who", metavar="NAME", help="Only by, or to, the token of this name.")
@click.option(
    "--event", metavar="EVENT", help="Only this, or its kind: token, access.refused."
)
@click.option(
    "--since",
    metavar="TIME",
    callback=_moment,
    help="Only from then on: 90s, 15m, 2h, 7d ago, or a time as in RFC 3339.",
)
@click.option("--until", metavar="TIME", callback=_moment, help="Only up to then.")
@click.option(
    "-f", "--follow", is_flag=True, help="Go on with what comes, until Ctrl-C."
)
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    metavar="N",
    help=f"Only the last N, 0 for all; {SHOWN} in a table if left out.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the lines as JSON.")
def audit(
    name: str | None,
    since: datetime | None,
    until: datetime | None,
    follow: bool,
    limit: int | None,
    as_json: bool,
    **given: str | None,
) -> None:
    """Show who did what, from a registry's audit file.

    Run it on the machine that has the file. Renamed files are read as well, oldest
    first.
    """
    path = _file(name)
    wanted = Wanted(
        **given,
        since=rfc3339(since) if since else "",
        until=rfc3339(until) if until else "~",
    )
    begin = since.timestamp() if since else 0.0
    take_any_text()
    last = _Last(limit, 0 if as_json else SHOWN)
    reader = _Reader(wanted)
    try:
        if follow:
            with suppress(KeyboardInterrupt):
                lines = audit_reader.follow(path, begin, Event().wait)
                _follow(reader, lines, last, as_json)
        else:
            found = reader.found(audit_reader.lines(path, begin))
            _show(last.of(found), as_json)
    except BrokenPipeError:
        raise
    except OSError as error:
        fail(f"{plain(path)} can't be read: {error.strerror or error}")
    except (EOFError, zlib.error):
        fail(f"one of the packed files beside {plain(path)} is damaged; unpack it")
    reader.sum_up()


def _file(name: str | None) -> Path:
    if name in (None, "", "off"):
        raise click.UsageError(
            "say which file, with --file or REGISTRY_AUDIT_FILE: the one that the"
            " registry was given as --audit-file"
        )
    path = Path(str(name)).resolve()
    if not path.is_file() and not path.with_name(f"{path.name}.1").is_file():
        fail(f"there is no file {plain(path)}; see the registry's --audit-file")
    return path


class _Reader:
    """Picks lines, and tells on standard error of those that can't be read."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._broken = 0

    def found(self, lines: Iterable[Line]) -> Iterator[dict[str, Any]]:
        """Yield those of the lines that are wanted."""
        for line in lines:
            each = self.read(line)
            if each is not None:
                yield each

    def read(self, line: Line) -> dict[str, Any] | None:
        """Return a line if it is wanted."""
        try:
            return self._wanted.read(line.data)
        except Broken:
            self._broken += 1
            if self._broken <= BROKEN_TOLD:
                _say(f"line {line.number} of {plain(line.file)} can't be read")
            return None

    def sum_up(self) -> None:
        """Tell how many lines could not be read, where not each was told of."""
        if self._broken > BROKEN_TOLD:
            _say(f"{count(self._broken, 'line')} can't be read")


def _say(message: str) -> None:
    click.echo(f"{PROGRAM}: {message}", err=True)


class _Last:
    """Keeps the last of many."""

    def __init__(self, asked: int | None, usual: int) -> None:
        """Return one for as many as were ``asked`` for, 0 for all; else as is usual."""
        self._limit = usual if asked is None else asked
        self._told = asked is None

    def of(self, found: Iterator[dict[str, Any]]) -> Iterable[dict[str, Any]]:
        """Return the last of them; tell of the others if nobody asked for a limit."""
        if not self._limit:
            return found
        number = 0
        kept: deque[dict[str, Any]] = deque(maxlen=self._limit)
        for each in found:
            number += 1
            kept.append(each)
        if self._told and number > self._limit:
            earlier = count(number - self._limit, "earlier line")
            _say(f"{earlier} not shown; --limit 0 shows all")
        return kept


def _show(found: Iterable[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        for each in found:
            show_json_line(each)
        return
    table = page(found)
    if table is None:
        click.echo("There is nothing.")
    else:
        show(table)


def _follow(
    reader: _Reader,
    lines: Iterator[Line | None],
    last: "_Last",
    as_json: bool,
) -> None:
    """Print the last of those that are there, then each one that comes."""

    def tell(each: dict[str, Any]) -> None:
        if as_json:
            show_json_line(each)
        else:
            click.echo(sentence(each))
        sys.stdout.flush()

    for each in last.of(reader.found(iter(lines.__next__, None))):
        tell(each)
    for line in lines:
        found = reader.read(line) if line is not None else None
        if found is not None:
            tell(found)
