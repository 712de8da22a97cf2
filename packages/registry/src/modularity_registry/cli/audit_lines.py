"""Lines of an audit in words: what a row of ``audit`` says."""

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

Act = dict[str, Any]


def page(found: Iterable[Act]) -> Table | None:
    """Return a table of them, one a row; None for none."""
    rows = [_row(each) for each in found]
    return table(HEADINGS, rows) if rows else None


def sentence(act: Act) -> str:
    """Return an act as a line of text."""
    texts = [cell if isinstance(cell, str) else cell[0] for cell in _row(act)]
    time, event, who, peer, about, what = texts
    return f"{time}  {event:<20}  {who}  {peer}  {about}  {what}".rstrip()


def _row(act: Act) -> tuple[Cell, ...]:
    event = plain(act.get("event"))
    about = act.get("service_id") or act.get("token") or act.get("call")
    return (
        moment(act.get("timestamp")),
        (event, _STYLES.get(event, "")),
        plain(act.get("who") or act.get("by") or "-"),
        _from(act),
        plain(about or "-"),
        _what(act),
    )


def _from(act: Act) -> str:
    peer = plain(act.get("peer", "-"))
    return f"{peer} by {plain(act['proxy'])}" if "proxy" in act else peer


def _what(act: Act) -> str:
    """Return what is special about an act; a newer registry's may say nothing here."""
    telling = _TELLING.get(str(act.get("event")))
    try:
        return telling(act) if telling is not None else ""
    except (
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
    ):  # a line that somebody has written
        return ""


def _of_service(act: Act) -> str:
    offered = names(act["capabilities"])
    told = f"{plain(act['version'])} at {plain(act['location'])}: {offered}"
    return f"{told}{_because(act)}"


def _of_replacement(act: Act) -> str:
    old, new = act["old"], act["new"]
    return ", ".join(
        (
            f"{plain(name)} {compact(old[name])} -> {compact(new[name])}"
            if name in new
            else plain(name)
        )
        for name in act["changed"]
    )


def _of_report(act: Act) -> str:
    old, new = act["old"]["status"], act["new"]["status"]
    return f"{plain(old)} -> {plain(new)}{_because(act)}"


def _of_token(act: Act) -> str:
    return f"rights {names(act['rights'])}, ids {names(act['ids'])}"


def _of_rotation(act: Act) -> str:
    until = act.get("former_until")
    return f"the former one is good until {moment(until)}" if until else ""


def _of_refusal(act: Act) -> str:
    return f"{plain(act['status'])}{_because(act)}"


def _of_left_out(act: Act) -> str:
    return f"{act['count']:,} more refusals since {moment(act['since'])}: " + pairs(
        act["clients"]
    )


def _of_loss(act: Act) -> str:
    return f"{act['count']:,} lines lost since {moment(act['since'])}{_because(act)}"


def _because(act: Act) -> str:
    reason = act.get("reason")
    return f": {plain(reason)}" if reason else ""


_TELLING: Final[dict[str, Callable[[Act], str]]] = {
    "service.registered": _of_service,
    "service.replaced": _of_replacement,
    "service.unregistered": _of_service,
    "service.expired": _of_service,
    "service.drained": lambda act: plain(act.get("reason", "")),
    "service.undrained": lambda act: plain(act["status"]),
    "service.reported": _of_report,
    "token.created": _of_token,
    "token.rotated": _of_rotation,
    "token.revoked": _of_token,
    "access.refused": _of_refusal,
    "access.left_out": _of_left_out,
    "audit.lost": _of_loss,
    "registry.started": lambda act: (
        f"version {plain(act['version'])}, {'with' if act['auth'] else 'without'} auth"
    ),
}
