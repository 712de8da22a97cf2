"""Calls `forked` of registered objects in the child of a fork."""

import os
import weakref
from typing import Protocol


class Forkable(Protocol):
    """An object with threads or connections, which a fork does not copy."""

    def forked(self) -> None:
        """Drop what belongs to the parent. Called first thing in the child."""


_objects: "weakref.WeakSet[Forkable]" = weakref.WeakSet()

abandoned: list[object] = []
"""Objects of the parent. The child must not collect them: that would close connections
that the parent is using."""


def register(forkable: Forkable) -> None:
    """Call the object's `forked` after a fork; keeps no reference to it."""
    _objects.add(forkable)


def _after_fork() -> None:
    for forkable in list(_objects):
        forkable.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
