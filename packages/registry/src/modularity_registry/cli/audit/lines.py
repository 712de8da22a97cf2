"""Entries of an audit file as rows and lines of text."""

from collections.abc import Callable, Iterable
from typing import Any, Final

from rich.table import Table

from modularity_registry.cli.output import (
    Cell,
    compact,
    moment,
    names,
    pairs,
    plain,
    table,
)

HEADINGS: Final = ("TIME", "EVENT", "WHO", "FROM", "ABOUT", "WHAT")

_STYLES: Final = {
    "access.refused": "yellow",
    "access.left_out": "yellow",
    "audit.lost": "bold red",
}

Entry = dict[str, Any]


def page(entries: Iterable[Entry]) -> Table | None:
    """Return a table with a row for each entry; None if there are none."""
    rows = [_row(entry) for entry in entries]
    return table(HEADINGS, rows) if rows else None


def sentence(entry: Entry) -> str:
    """Return an entry as a line of text."""
    texts = [cell if isinstance(cell, str) else cell[0] for cell in _row(entry)]
    time, event, who, peer, about, what = texts
    return f"{time}  {event:<20}  {who}  {peer}  {about}  {what}".rstrip()


def _row(entry: Entry) -> tuple[Cell, ...]:
    event = plain(entry.get("event"))
    keys = ("service_id", "token", "capability", "call")
    about = next((entry[key] for key in keys if entry.get(key)), None)
    return (
        moment(entry.get("timestamp")),
        (event, _STYLES.get(event, "")),
        plain(entry.get("who") or entry.get("by") or "-"),
        _from(entry),
        plain(about or "-"),
        _what(entry),
    )


def _from(entry: Entry) -> str:
    peer = plain(entry.get("peer", "-"))
    return f"{peer} by {plain(entry['proxy'])}" if "proxy" in entry else peer


def _what(entry: Entry) -> str:
    """Return the details of an entry; empty for an event of a newer registry."""
    describe = _DESCRIPTIONS.get(str(entry.get("event")))
    try:
        return describe(entry) if describe is not None else ""
    except (
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
    ):  # a line that was edited by hand
        return ""


def _of_service(entry: Entry) -> str:
    capabilities = names(entry["capabilities"])
    address = f"{plain(entry['version'])} at {plain(entry['location'])}"
    return f"{address}: {capabilities}{_because(entry)}"


def _of_replacement(entry: Entry) -> str:
    old, new = entry["old"], entry["new"]
    return ", ".join(
        (
            f"{plain(name)} {compact(old[name])} -> {compact(new[name])}"
            if name in new
            else plain(name)
        )
        for name in entry["changed"]
    )


def _of_report(entry: Entry) -> str:
    old, new = entry["old"]["status"], entry["new"]["status"]
    return f"{plain(old)} -> {plain(new)}{_because(entry)}"


def _of_split(entry: Entry) -> str:
    old, new = (
        pairs(entry[key]) if entry.get(key) else "none" for key in ("old", "new")
    )
    return f"{old} -> {new}"


def _of_token(entry: Entry) -> str:
    return f"rights {names(entry['rights'])}, ids {names(entry['ids'])}"


def _of_rotation(entry: Entry) -> str:
    until = entry.get("former_until")
    return f"the former text works until {moment(until)}" if until else ""


def _of_refusal(entry: Entry) -> str:
    return f"{plain(entry['status'])}{_because(entry)}"


def _of_left_out(entry: Entry) -> str:
    return f"{entry['count']:,} more refusals since {moment(entry['since'])}: " + pairs(
        entry["clients"]
    )


def _of_loss(entry: Entry) -> str:
    return (
        f"{entry['count']:,} lines lost since {moment(entry['since'])}{_because(entry)}"
    )


def _because(entry: Entry) -> str:
    reason = entry.get("reason")
    return f": {plain(reason)}" if reason else ""


_DESCRIPTIONS: Final[dict[str, Callable[[Entry], str]]] = {
    "service.registered": _of_service,
    "service.replaced": _of_replacement,
    "service.unregistered": _of_service,
    "service.expired": _of_service,
    "service.drained": lambda entry: plain(entry.get("reason", "")),
    "service.undrained": lambda entry: plain(entry["status"]),
    "service.reported": _of_report,
    "capability.split_changed": _of_split,
    "capability.split_ended": _of_split,
    "token.created": _of_token,
    "token.rotated": _of_rotation,
    "token.revoked": _of_token,
    "access.refused": _of_refusal,
    "access.left_out": _of_left_out,
    "audit.lost": _of_loss,
    "registry.started": lambda entry: (
        f"version {plain(entry['version'])},"
        f" {'with' if entry['auth'] else 'without'} auth"
    ),
}
