"""Tells objects in a child process that they are copies now."""

import os
import weakref
from typing import Protocol


class Forkable(Protocol):
    """What holds threads or connections, which a fork does not copy."""

    def forked(self) -> None:
        """Let go of what is the parent's. Called in the child, before anything else."""


_known: "weakref.WeakSet[Forkable]" = weakref.WeakSet()

abandoned: list[object] = []
"""The parent's things. In the child they must not end: that would close connections
properly that the parent is using."""


def note(each: Forkable) -> None:
    """Have the object told; it is forgotten when nobody else holds it."""
    _known.add(each)


def _tell() -> None:
    for each in list(_known):
        each.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_tell)
