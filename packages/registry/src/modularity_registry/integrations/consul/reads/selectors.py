"""Which fields of a row a filter may name, and of what kind they are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

Kind = Any
"""``str``, ``int``, ``bool``; ``list`` of texts; ``dict`` of texts; a mapping of names
to kinds; `Each` of a mapping."""


@dataclass(frozen=True, slots=True)
class Each:
    """What a row has several of: in a list, or by names of their own."""

    kind: Mapping[str, Kind]
    named: bool = False


@dataclass(frozen=True, slots=True)
class Selector:
    """A field by its path. ``kind`` is ``rows`` for a list of rows."""

    name: str
    path: tuple[str, ...]
    kind: Any

    def test(
        self, holds: Callable[[Any], bool], if_missing: bool
    ) -> Callable[[Any], bool]:
        """Return what says whether a row's field ``holds``, or one of several."""
        path = self.path

        def found(row: Any) -> bool:
            return _test(row, path, 0, holds, if_missing)

        return found


def _test(
    value: Any,
    path: tuple[str, ...],
    at: int,
    holds: Callable[[Any], bool],
    if_missing: bool,
) -> bool:
    for number in range(at, len(path)):
        if isinstance(value, list):
            return any(_test(one, path, number, holds, if_missing) for one in value)
        if path[number] not in value:
            return if_missing
        value = value[path[number]]
    return holds(value)


def select(kind: Mapping[str, Kind], path: Sequence[str]) -> Selector | None:
    """Return the field at this path in rows of a kind; None if there is none."""
    found: Any = kind
    for name in path:
        if isinstance(found, Each):
            found = found.kind if found.named else found.kind.get(name)
        elif isinstance(found, Mapping):
            found = found.get(name)
        else:
            found = str if found is dict else None
        if found is None:
            return None
    if isinstance(found, Each):
        found = dict if found.named else "rows"
    return Selector(".".join(path), tuple(path), found)


_PLACES: Final = Each({"Address": str, "Port": int}, named=True)
_WEIGHTS: Final = {"Passing": int, "Warning": int}
CHECK: Final[Mapping[str, Kind]] = {
    **dict.fromkeys(("Node", "CheckID", "Name", "Status", "Notes", "Output"), str),
    **dict.fromkeys(("ServiceID", "ServiceName", "Type"), str),
    "ServiceTags": list,
}
AGENT_SERVICE: Final[Mapping[str, Kind]] = {
    **dict.fromkeys(("Kind", "ID", "Service", "Address"), str),
    "Tags": list,
    "Meta": dict,
    "Port": int,
    "TaggedAddresses": _PLACES,
    "Weights": _WEIGHTS,
    "EnableTagOverride": bool,
}
NODE: Final[Mapping[str, Kind]] = {
    **dict.fromkeys(("ID", "Node", "Address", "Datacenter"), str),
    "TaggedAddresses": dict,
    "Meta": dict,
}
HEALTH: Final[Mapping[str, Kind]] = {
    "Node": NODE,
    "Service": AGENT_SERVICE,
    "Checks": Each(CHECK),
}
CATALOG: Final[Mapping[str, Kind]] = {
    **dict.fromkeys(("ID", "Node", "Address", "Datacenter", "ServiceKind"), str),
    **dict.fromkeys(("ServiceID", "ServiceName", "ServiceAddress"), str),
    "TaggedAddresses": dict,
    "NodeMeta": dict,
    "ServiceTags": list,
    "ServiceMeta": dict,
    "ServicePort": int,
    "ServiceWeights": _WEIGHTS,
    "ServiceTaggedAddresses": _PLACES,
    "ServiceEnableTagOverride": bool,
}
SERVICES: Final[Mapping[str, Kind]] = {"ServiceName": str, "ServiceTags": list}
