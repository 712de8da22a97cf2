"""A split: how the calls of a capability are shared among groups of its providers."""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

GROUP_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._+\-]{0,63}$"
MOST_GROUPS: Final = 16
MOST_WEIGHT: Final = 10_000
MOST_SPLITS: Final = 10_000
"""Of all capabilities together. Only admins make them."""


class Split(msgspec.Struct, frozen=True, gc=False):
    """The groups of a capability's providers, and the weight of each.

    This is the document that is stored. The groups are in order of name.
    """

    capability: str
    groups: dict[str, int]


def split_of(capability: str, groups: Mapping[str, int]) -> Split:
    """Return the split with these groups."""
    return Split(capability, dict(sorted(groups.items())))


def group_of(groups: Iterable[str], tag: str | None, version: str) -> str | None:
    """Return the group of a provider with this tag and version; None if it has none.

    That is the group with the name of its tag; else the group whose name is the longest
    beginning of its version, in whole parts between dots. A ``v`` before either counts
    for nothing.
    """
    longest: tuple[int, str | None] = (0, None)
    parts = version_parts(version)
    for name in groups:
        if name == tag:
            return name
        begin = version_parts(name)
        if len(begin) > longest[0] and parts[: len(begin)] == begin:
            longest = len(begin), name
    return longest[1]


def version_parts(text: str) -> list[str]:
    """Return the parts of a version: those of ``v1.4`` are 1 and 4."""
    return text.removeprefix("v").split(".")


def getting_calls(groups: Mapping[str, int], present: Iterable[str]) -> dict[str, int]:
    """Return which of the groups that have a provider get calls, with their weights.

    Groups of weight 0 are left out, unless there are no others; then all have 1.
    """
    there = frozenset(present)
    weights = {name: weight for name, weight in groups.items() if name in there}
    weighty = {name: weight for name, weight in weights.items() if weight}
    return weighty or dict.fromkeys(weights, 1)
