"""Compares a JSON reply with the one that a document shows.

Both must have the same keys and the same values. What differs from run to run, told by
its key, must be of the same kind in both: a document can't show a time that no reply
would have.
"""

import re
from collections.abc import Callable
from typing import Any

Kind = Callable[[Any], bool]

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
_REPLICA = re.compile(r"\S+-[0-9a-f]{6}")


def _is_time(value: Any) -> bool:
    return isinstance(value, str) and _TIME.fullmatch(value) is not None


def _is_replica(value: Any) -> bool:
    return isinstance(value, str) and _REPLICA.fullmatch(value) is not None


def _is_away(value: Any) -> bool:
    # What follows depends on what the line was doing when it broke.
    return isinstance(value, str) and value.startswith("the store is away: ")


def _is_host(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_measure(value: Any) -> bool:
    return type(value) is float and value >= 0


VOLATILE: dict[str, Kind] = {
    "at": _is_time,
    "checked_at": _is_time,
    "checked_by": _is_replica,
    "detail": _is_away,
    "error": _is_away,
    "failed": _is_count,
    "host": _is_host,
    "last_seen": _is_time,
    "latency_ms": _is_measure,
    "next_check": _is_time,
    "registered_at": _is_time,
    "replicas.id": _is_replica,
    "replica": _is_replica,
    "revision": _is_count,
    "seen": _is_measure,
    "since": _is_time,
    "stale_seconds": _is_count,
    "started_at": _is_time,
    "succeeded": _is_count,
    "timestamp": _is_time,
    "uptime_seconds": _is_measure,
}


# What differs from run to run in a text, and what stands for all of its kind.
_TEXT = (
    (re.compile(r"\b[0-9.]+/s\b"), "N/s"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"), "TIME"),
    (re.compile(r"\b\S+-[0-9a-f]{6}\b"), "REPLICA"),
    (re.compile(r"\b[\d,]+\.\d ms\b"), "LATENCY"),
    (re.compile(r"\brevision( +)\d+\b"), r"revision\1NUMBER"),
    (re.compile(r"\bup for( +)\d+ s\b"), r"up for\1SECONDS"),
    (re.compile(r"\b[\d,]+ ok, [\d,]+ failed\b"), "CHECKS"),
    # A column is as wide as its longest cell, which may hold what differs.
    (re.compile(r" {2,}"), "  "),
)


def settled(text: str) -> str:
    """Return a text with words in place of what differs from run to run."""
    for pattern, word in _TEXT:
        text = pattern.sub(word, text)
    return text


def differences(shown: Any, real: Any, where: str = "reply") -> list[str]:
    """Return in one line each what the document shows otherwise; empty when nothing."""
    if isinstance(shown, dict) and isinstance(real, dict):
        return _in_objects(shown, real, where)
    if isinstance(shown, list) and isinstance(real, list):
        return _in_lists(shown, real, where)
    # 1 == True and 1 == 1.0, but not in JSON.
    if type(shown) is type(real) and shown == real:
        return []
    return [f"{where}: shown {shown!r}, really {real!r}"]


def _in_objects(shown: dict[str, Any], real: dict[str, Any], where: str) -> list[str]:
    found = [f"{where}.{key}: shown, but not there" for key in shown.keys() - real]
    found += [f"{where}.{key}: there, but not shown" for key in real.keys() - shown]
    for key in shown.keys() & real.keys():
        found += _in_values(key, shown[key], real[key], f"{where}.{key}")
    return sorted(found)


def _in_lists(shown: list[Any], real: list[Any], where: str) -> list[str]:
    if len(shown) != len(real):
        return [f"{where}: {len(shown)} shown, really {len(real)}"]
    pairs = enumerate(zip(shown, real, strict=True))
    return [
        line
        for number, (one, other) in pairs
        for line in differences(one, other, f"{where}[{number}]")
    ]


def _in_values(key: str, shown: Any, real: Any, where: str) -> list[str]:
    # Where the key alone does not tell: that of the list around it as well.
    around = re.search(r"(\w+)\[\d+\]\.\w+$", where)
    kind = VOLATILE.get(key) or VOLATILE.get(f"{around and around[1]}.{key}")
    if kind is None or not kind(real):
        return differences(shown, real, where)
    if kind(shown):
        return []
    return [f"{where}: shown {shown!r}, which is not of the kind of {real!r}"]
