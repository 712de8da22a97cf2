"""How far a reader has come, as the id of an event says it."""

import sys
from typing import NamedTuple

WHOLE = sys.maxsize
"""The place after all changes of a revision."""


class Position(NamedTuple):
    """After the ``place``-th change of ``revision``, by default after all of them.

    Some stores give several changes one revision.
    """

    revision: int
    place: int = WHOLE

    def id(self, epoch: str) -> str:
        """Return it as an event's id: ``<epoch>-<revision>``.

        Amid the changes of one revision, a dot and the place follow.
        """
        place = "" if self.place == WHOLE else f".{self.place}"
        return f"{epoch}-{self.revision}{place}"


def position_of(event_id: str, epoch: str) -> Position | None:
    """Return the position that an event's id names; None if it is not of this epoch."""
    event_epoch, _, text = event_id.rpartition("-")
    numbers = text.split(".")
    if event_epoch != epoch or len(numbers) > 2 or not all(map(_is_number, numbers)):
        return None
    return Position(*map(int, numbers))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 19
