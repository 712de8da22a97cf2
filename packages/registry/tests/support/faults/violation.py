"""What a check found to be wrong."""

from typing import NamedTuple


class Violation(NamedTuple):
    """A promise that was broken: what was ``seen``, and what speaks ``against`` it."""

    kind: str
    seen: str
    against: str = ""
