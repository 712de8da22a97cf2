"""Intentions: which services may call which capabilities. Decides, touches nothing."""

from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

import msgspec

Action = Literal["allow", "deny"]

ACTIONS: Final[tuple[Action, ...]] = ("allow", "deny")

MOST_INTENTIONS: Final = 10_000
"""Of all together. Only admins make them."""

ANY: Final = "*"
"""What a pattern ends with that stands for more than one name; alone, for all."""


class Intention(msgspec.Struct, frozen=True, gc=False):
    """Whether the services that ``source`` names may call what ``capability`` names.

    This is the document that is stored. Both are a name, or its beginning and a ``*``.
    """

    source: str
    capability: str
    action: Action


class _Exactness(NamedTuple):
    whole: bool
    length: int


def matches(pattern: str, name: str) -> bool:
    """Say whether a name is one that the pattern stands for."""
    if pattern.endswith(ANY):
        return name.startswith(pattern[:-1])
    return name == pattern


def rank(intention: Intention) -> tuple[_Exactness, _Exactness]:
    """Return what is greater for the one of two that counts: the more exact one.

    First by the capability, then by the source.
    """
    return _exactness(intention.capability), _exactness(intention.source)


def _exactness(pattern: str) -> _Exactness:
    return _Exactness(not pattern.endswith(ANY), len(pattern))


def for_capability(
    intentions: Iterable[Intention], default: Action, capability: str
) -> list[Intention]:
    """Return those that decide on a capability's callers, the most exact one first.

    The last one is the ``default``, which decides on all that no other one does.
    """
    concerned = [one for one in intentions if matches(one.capability, capability)]
    concerned.sort(key=rank, reverse=True)
    return [*concerned, Intention(ANY, ANY, default)]


def is_allowed(rules: Iterable[Intention], source: str) -> bool:
    """Say whether a service may call, by what `for_capability` returns."""
    first = next(rule for rule in rules if matches(rule.source, source))
    return first.action == "allow"
