"""How a service, the numbers and the graph look when people read them."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from rich.console import RenderableType
from rich.text import Text
from rich.tree import Tree

from modularity_registry.cli.output import (
    Cell,
    compact,
    count,
    facts,
    milliseconds,
    moment,
    names,
    pairs,
    percent,
    plain,
    status_cell,
    table,
)

Facts = list[tuple[str, Cell]]

MOST: Final = 20
"""So many services that have nothing to show for are named; the rest is counted."""


def service_page(service: Any, connections: Any) -> Iterator["RenderableType"]:
    """Yield what is known of a service, what its status rests on, and its calls."""
    yield facts(_said(service))
    yield ""
    yield facts(_evidence(service))
    calls = [*_calls("calls", "provider", connections["consuming"])]
    calls += _calls("called by", "consumer", connections["providing"])
    if calls:
        yield ""
        headings = ("WHO", "ID", "CAPABILITY", "CALLS", "SUCCESS", "MEAN", "LAST")
        yield table(headings, calls)


def _said(service: Any) -> Facts:
    return [
        ("id", plain(service["id"])),
        ("name", plain(service["name"])),
        ("version", plain(service["version"])),
        ("capabilities", names(service["capabilities"])),
        ("location", plain(service["location"])),
        ("mode", plain(service["mode"])),
        ("metadata", pairs(service["metadata"])),
        ("weight", plain(service["weight"])),
        ("lease", _seconds(service["ttl"]) or "none: stays until unregistered"),
        ("check", _check(service["health"])),
        ("owner", _owner(service.get("owner"))),
        ("revision", plain(service["revision"])),
        ("registered", moment(service["registered_at"])),
        ("last seen", moment(service["last_seen"])),
    ]


def _owner(owner: Any) -> str:
    match owner:
        case None:
            return "nobody"
        case "owner_key":
            return "whoever has its owner_key"
    return f"the token {plain(owner)}"


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:g} s"


def _check(health: Any) -> str:
    if health is None:
        return "none"
    path = f"{plain(health['path'])}, " if health.get("path") else ""
    interval, timeout = _seconds(health["interval"]), _seconds(health["timeout"])
    return f"{path}every {interval}, at most {timeout}"


def _evidence(service: Any) -> Iterator[tuple[str, Cell]]:
    evidence = service["evidence"]
    yield "status", status_cell(service["status"])
    yield "since", moment(evidence["since"])
    for fault in evidence["faults"]:
        yield (
            "fault",
            (
                f"{plain(fault['source'])}: {plain(fault['reason'])},"
                f" at {moment(fault['at'])}",
                "red",
            ),
        )
    if evidence["drain"]:
        drain = evidence["drain"]
        reason = plain(drain["reason"]) or "no reason given"
        yield "drained", f"{reason}, at {moment(drain['at'])}"
    if service["health"] is None:
        return
    yield "failed checks", plain(service["failed_checks"])
    if evidence["checked_at"] is None:
        yield "last check", f"not seen by this replica; by {_by(evidence)}"
        return
    yield (
        "last check",
        f"{plain(evidence['outcome'])}: {plain(evidence['message'])},"
        f" in {milliseconds(evidence['latency_ms'])},"
        f" at {moment(evidence['checked_at'])} by {_by(evidence)}",
    )
    yield "next check", moment(evidence["next_check"])


def _by(evidence: Any) -> str:
    return plain(evidence["checked_by"] or "nobody yet")


def _calls(
    word: str, side: str, connections: Sequence[Any]
) -> Iterator[tuple[Cell, ...]]:
    for each in connections:
        yield (
            word,
            plain(each[f"{side}_id"]),
            plain(each["capability"]),
            f"{each['request_count']:,}",
            percent(each["success_rate"]),
            milliseconds(each["avg_latency_ms"]),
            moment(each["last_seen"]),
        )


def stats_page(stats: Any) -> Iterator["RenderableType"]:
    """Yield the registry's numbers, then its replicas where there are several."""
    by_status, checks = stats["services_by_status"], stats["checks"]
    yield facts(
        [
            ("services", f"{stats['total_services']:,}"),
            *((f"  {plain(word)}", f"{n:,}") for word, n in by_status.items()),
            ("capabilities", f"{stats['total_capabilities']:,}"),
            ("modes", _counts(stats["services_by_mode"])),
            ("runtimes", _counts(stats["services_by_runtime"])),
            (
                "checks",
                f"{checks['watched']:,} watched, {checks['succeeded']:,} good and"
                f" {checks['failed']:,} failed so far",
            ),
            ("watchers", f"{stats['watchers']:,}"),
            ("revision", plain(stats["revision"])),
            ("replica", plain(stats["replica"])),
            ("up for", duration(stats["uptime_seconds"])),
        ]
    )
    if stats["replicas"]:
        yield ""
        headings = ("REPLICA", "STATE", "SEEN", "HOST", "VERSION", "STARTED")
        yield table(headings, map(_replica, stats["replicas"]))


def _counts(counts: Any) -> str:
    shown = (f"{plain(word)} {number:,}" for word, number in counts.items())
    return ", ".join(shown) or "-"


def _replica(replica: Any) -> tuple[Cell, ...]:
    itself = " (this one)" if replica["self"] else ""
    style = "green" if replica["state"] == "alive" else "bold red"
    return (
        f"{plain(replica['id'])}{itself}",
        (plain(replica["state"]), style),
        f"{replica['seen']:.1f} s ago",
        plain(replica["host"]),
        plain(replica["version"]),
        moment(replica["started_at"]),
    )


def duration(seconds: float) -> str:
    """Return a time span in its two largest units."""
    whole = int(seconds)
    parts = [(whole // 86_400, "d"), (whole // 3_600 % 24, "h")]
    parts += [(whole // 60 % 60, "min"), (whole % 60, "s")]
    while len(parts) > 1 and not parts[0][0]:
        parts = parts[1:]
    return " ".join(f"{number} {unit}" for number, unit in parts[:2])


def graph_page(graph: Any) -> Iterator["RenderableType"]:
    """Yield a tree for each caller with whom it has called, then who stands alone."""
    nodes = {node["id"]: node for node in graph["nodes"]}
    callers = sorted({edge["from"] for edge in graph["edges"]})
    for caller in callers:
        tree = Tree(_node(caller, nodes.get(caller)))
        edges = (edge for edge in graph["edges"] if edge["from"] == caller)
        for edge in sorted(edges, key=lambda each: (each["to"], each["capability"])):
            label = Text.assemble(_node(edge["to"], nodes.get(edge["to"])), _edge(edge))
            tree.add(label)
        yield tree
    connected = {edge[end] for edge in graph["edges"] for end in ("from", "to")}
    alone = sorted(nodes.keys() - connected)
    if alone:
        if callers:
            yield ""
        more = f", and {len(alone) - MOST:,} more" if len(alone) > MOST else ""
        number = count(len(alone), "service")
        yield f"{number} without a known call: {names(alone[:MOST])}{more}"


def _node(service_id: str, node: Any) -> Any:
    label = Text(plain(service_id), style="bold")
    if node is None or not node["registered"]:
        return label.append(" (not registered)", style="not bold")
    word, style = status_cell(node["status"])
    return label.append(f" ({word})", style=f"not bold {style}")


def _edge(edge: Any) -> str:
    return (
        f"  {compact(edge['capability'])}: {count(edge['weight'], 'call')},"
        f" {percent(edge['success_rate'])} good, {milliseconds(edge['avg_latency_ms'])}"
    )
