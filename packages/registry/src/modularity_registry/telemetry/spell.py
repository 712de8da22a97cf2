"""A condition that comes and goes, of which the log needs one line."""

from math import inf


class Spell:
    """A time in which something keeps happening; ends ``seconds`` after the last."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ends = -inf

    def lasts(self, now: float) -> bool:
        """Say whether the spell is not over yet."""
        return now < self._ends

    def extend(self, now: float) -> bool:
        """Note that it happened; return whether that began a new spell."""
        begins = not self.lasts(now)
        self._ends = now + self._seconds
        return begins
