"""What a read asks for behind its path."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from modularity_registry.errors import InvalidRequest, RegistryError
from modularity_registry.integrations.consul.node import DATACENTER
from modularity_registry.integrations.consul.reads.filters import Filter, parsed
from modularity_registry.integrations.consul.reads.selectors import Kind
from modularity_registry.integrations.consul.writes.fields import duration

USUAL_WAIT: Final = 300.0
LONGEST_WAIT: Final = 600.0
JITTER: Final = 1 / 16
"""A wait is longer by up to this share, so that callers don't come back together."""

MOST_INDEX: Final = 1 << 64
TRUE: Final = frozenset({"", "1", "t", "T", "true", "TRUE", "True"})
FALSE: Final = frozenset({"0", "f", "F", "false", "FALSE", "False"})
_NODE_META: Final = {"consul-network-segment": ""}

Arguments = Sequence[tuple[str, str]]


class NoDatacenter(RegistryError):
    """A read is for a datacenter that is not here."""

    code = "no_datacenter"


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a read.

    ``index`` is 0 for one that does not wait, ``wait`` seconds. ``here`` says whether
    the node has all the metadata that is asked for.
    """

    index: int = 0
    wait: float = USUAL_WAIT
    passing: bool = False
    tags: tuple[str, ...] = ()
    filter: str = ""
    here: bool = True
    cached: bool = False
    hash: str = ""

    @property
    def seconds(self) -> float:
        """For how long this call waits."""
        return self.wait * (1 + random.random() * JITTER)

    def passes(self, kind: Mapping[str, Kind]) -> Filter | None:
        """Return the filter for rows of this kind; None if none is asked for.

        Raises `InvalidRequest`.
        """
        return parsed(self.filter, kind) if self.filter else None


@lru_cache(maxsize=4096)
def of(arguments: Arguments) -> Options:
    """Return the options among the arguments of a call; others mean nothing.

    Raises `InvalidRequest` or `NoDatacenter`.
    """
    first: dict[str, str] = {}
    for name, value in arguments:
        first.setdefault(name, value)
    if "stale" in first and "consistent" in first:
        raise InvalidRequest(
            "Cannot specify ?stale with ?consistent, conflicting semantics."
        )
    index, wait = _index(first.get("index", "")), _wait(first.get("wait", ""))
    require_here(first.get("dc", ""))
    passing = first.get("passing")
    if passing is not None and passing not in TRUE | FALSE:
        raise InvalidRequest("Invalid value for ?passing")
    wanted = [value for name, value in arguments if name == "node-meta"]
    pairs = [value.partition(":") for value in wanted]
    return Options(
        index=index,
        wait=wait,
        passing=passing is not None and passing in TRUE,
        tags=tuple(value.lower() for name, value in arguments if name == "tag"),
        filter=first.get("filter", ""),
        here=all(_NODE_META.get(name) == value for name, _, value in pairs),
        cached="cached" in first,
        hash=first.get("hash", ""),
    )


def require_here(datacenter: str) -> None:
    """Raise `NoDatacenter` unless this is the datacenter, or none is named."""
    if datacenter not in ("", DATACENTER):
        raise NoDatacenter("No path to datacenter")


def _index(text: str) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.isdigit()) or len(text) > 20:
        raise InvalidRequest("Invalid index")
    index = int(text)
    if index >= MOST_INDEX:
        raise InvalidRequest("Invalid index")
    return index


def _wait(text: str) -> float:
    if not text:
        return USUAL_WAIT
    seconds = duration(text)
    if seconds is None:
        raise InvalidRequest("Invalid wait time")
    return min(seconds, LONGEST_WAIT) if seconds > 0 else USUAL_WAIT
