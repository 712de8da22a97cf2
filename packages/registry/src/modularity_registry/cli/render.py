"""Services, counts and the graph as tables and trees."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from rich.console import RenderableType
from rich.text import Text
from rich.tree import Tree

from modularity_registry.cli.output import (
    STYLES,
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
"""How many services without calls are named; the rest is counted."""


def service_page(service: Any, connections: Any) -> Iterator["RenderableType"]:
    """Yield a service's registration, the reasons for its status, and its calls."""
    yield facts(_registration(service))
    yield ""
    yield facts(_evidence(service))
    calls = [*_calls("calls", "provider", connections["consuming"])]
    calls += _calls("called by", "consumer", connections["providing"])
    if calls:
        yield ""
        headings = ("WHO", "ID", "CAPABILITY", "CALLS", "SUCCESS", "MEAN", "LAST")
        yield table(headings, calls)


def _registration(service: Any) -> Facts:
    return [
        ("id", plain(service["id"])),
        ("name", plain(service["name"])),
        ("version", plain(service["version"])),
        ("capabilities", names(service["capabilities"])),
        ("location", plain(service["location"])),
        ("mode", plain(service["mode"])),
        *((key, plain(service[key])) for key in ("zone", "region") if key in service),
        ("metadata", pairs(service["metadata"])),
        ("weight", plain(service["weight"])),
        *([("priority", plain(service["priority"]))] if "priority" in service else []),
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
            return "none"
        case "owner_key":
            return "holder of its owner_key"
    return f"token {plain(owner)}"


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:g} s"


def _check(health: Any) -> str:
    if health is None:
        return "none"
    path = f"{plain(health['path'])}, " if health.get("path") else ""
    interval, timeout = _seconds(health["interval"]), _seconds(health["timeout"])
    return f"{path}every {interval}, timeout {timeout}"


def _evidence(service: Any) -> Iterator[tuple[str, Cell]]:
    evidence = service["evidence"]
    yield "status", status_cell(service["status"])
    yield "since", moment(evidence["since"])
    for name, found, style in (
        ("fault", evidence["faults"], "red"),
        ("warning", evidence.get("warnings", ()), STYLES["warning"]),
    ):
        for fault in found:
            text = f"{plain(fault['source'])}: {plain(fault['reason'])}"
            yield name, (f"{text}, at {moment(fault['at'])}", style)
    if evidence["drain"]:
        drain = evidence["drain"]
        reason = plain(drain["reason"]) or "no reason given"
        yield "drained", f"{reason}, at {moment(drain['at'])}"
    for check in evidence.get("checks", ()):
        yield f"check {plain(check['name'])}", _check_cell(check)
    if service["health"] is None:
        return
    yield "failed checks", plain(service["failed_checks"])
    if evidence["checked_at"] is None:
        yield "last check", (
            f"not by this replica, but by {_by(evidence)}"
            if evidence["checked_by"]
            else "none yet"
        )
        return
    yield (
        "last check",
        f"{plain(evidence['outcome'])}: {plain(evidence['message'])},"
        f" in {milliseconds(evidence['latency_ms'])},"
        f" at {moment(evidence['checked_at'])} by {_by(evidence)}",
    )
    if "second_opinion" in evidence:
        yield "other replicas", _opinion(evidence["second_opinion"])
    yield "next check", moment(evidence["next_check"])


def _opinion(opinion: Any) -> Cell:
    """Return what other replicas say of a check that can't connect."""
    color = "yellow" if opinion["state"] == "held" else "red"
    return plain(opinion["message"]), color


def _check_cell(check: Any) -> Cell:
    """Return what one of the service's own checks says."""
    said = plain(check["status"])
    if check["checked_at"] is not None:
        said += f": {plain(check['message'])}, at {moment(check['checked_at'])}"
    if "second_opinion" in check:
        said += f"; {plain(check['second_opinion']['message'])}"
    color = {"unhealthy": "red", "warning": STYLES["warning"]}.get(check["status"])
    return (said, color) if color else said


def _by(evidence: Any) -> str:
    return plain(evidence["checked_by"] or "-")


def _calls(
    direction: str, side: str, connections: Sequence[Any]
) -> Iterator[tuple[Cell, ...]]:
    for connection in connections:
        yield (
            direction,
            plain(connection[f"{side}_id"]),
            plain(connection["capability"]),
            f"{connection['request_count']:,}",
            percent(connection["success_rate"]),
            milliseconds(connection["avg_latency_ms"]),
            moment(connection["last_seen"]),
        )


def stats_page(stats: Any) -> Iterator["RenderableType"]:
    """Yield the registry's counts, then its replicas where there are several."""
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
                f"{count(checks['watched'], 'service')}, {checks['succeeded']:,} ok,"
                f" {checks['failed']:,} failed",
            ),
            ("watchers", f"{stats['watchers']:,}"),
            ("revision", plain(stats["revision"])),
            ("replica", plain(stats["replica"])),
            ("up for", duration(stats["uptime_seconds"])),
        ]
    )
    if stats["replicas"]:
        yield ""
        headings = ("REPLICA", "STATE", "SEEN", "HOST", "ADDRESS", "VERSION", "STARTED")
        yield table(headings, map(_replica, stats["replicas"]))


def _counts(counts: Any) -> str:
    return ", ".join(f"{plain(word)} {n:,}" for word, n in counts.items()) or "-"


def _replica(replica: Any) -> tuple[Cell, ...]:
    suffix = " (this one)" if replica["self"] else ""
    style = "green" if replica["state"] == "alive" else "bold red"
    return (
        f"{plain(replica['id'])}{suffix}",
        (plain(replica["state"]), style),
        f"{replica['seen']:.1f} s ago",
        plain(replica["host"]),
        plain(replica.get("address", "-")),
        plain(replica["version"]),
        moment(replica["started_at"]),
    )


def duration(seconds: float) -> str:
    """Return a duration in its two largest units."""
    whole = int(seconds)
    parts = [(whole // 86_400, "d"), (whole // 3_600 % 24, "h")]
    parts += [(whole // 60 % 60, "min"), (whole % 60, "s")]
    while len(parts) > 1 and not parts[0][0]:
        parts = parts[1:]
    return " ".join(f"{number} {unit}" for number, unit in parts[:2])


def graph_page(graph: Any) -> Iterator["RenderableType"]:
    """Yield a tree of calls for each caller, then the services without calls."""
    nodes = {node["id"]: node for node in graph["nodes"]}
    callers = sorted({edge["from"] for edge in graph["edges"]})
    for caller in callers:
        tree = Tree(_node(caller, nodes.get(caller)))
        edges = (edge for edge in graph["edges"] if edge["from"] == caller)
        for edge in sorted(edges, key=lambda edge: (edge["to"], edge["capability"])):
            label = Text.assemble(_node(edge["to"], nodes.get(edge["to"])), _edge(edge))
            tree.add(label)
        yield tree
    connected = {edge[end] for edge in graph["edges"] for end in ("from", "to")}
    isolated = sorted(nodes.keys() - connected)
    if isolated:
        if callers:
            yield ""
        more = f", and {len(isolated) - MOST:,} more" if len(isolated) > MOST else ""
        number = count(len(isolated), "service")
        yield f"{number} without calls: {names(isolated[:MOST])}{more}"


def _node(service_id: str, node: Any) -> Any:
    label = Text(plain(service_id), style="bold")
    if node is None or not node["registered"]:
        return label.append(" (not registered)", style="not bold")
    word, style = status_cell(node["status"])
    return label.append(f" ({word})", style=f"not bold {style}")


def _edge(edge: Any) -> str:
    rate = edge.get("calls_per_second")  # missing from a registry before 0.2
    return (
        f"  {compact(edge['capability'])}: {count(edge['weight'], 'call')},"
        f" {percent(edge['success_rate'])} ok, {milliseconds(edge['avg_latency_ms'])}"
        + (f", {rate:g}/s" if rate is not None else "")
    )
