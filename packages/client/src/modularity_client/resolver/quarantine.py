"""Who sits out for having failed its caller, as seen from here alone."""

from collections.abc import Set

LONGEST = 120.0
"""Nobody sits out for longer than this many seconds."""


class Bench:
    """Providers that failed, and until when each is skipped. Not thread-safe.

    A term is ``seconds``, and twice the one before when the next failure comes soon
    after. Times are monotonic seconds.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._terms: dict[str, tuple[float, float]] = {}

    def failed(self, service_id: str, now: float) -> float | None:
        """Note a failure; return the seconds to sit out, None when it does already."""
        until, length = self._terms.get(service_id, (0.0, 0.0))
        if now < until:
            return None  # a call that was under way when the first one failed
        again = now < until + length
        length = min(LONGEST, length * 2) if again else self._seconds
        self._terms[service_id] = (now + length, length)
        return length

    def forgive(self, service_id: str) -> bool:
        """Forget the failures; return whether there were any."""
        return self._terms.pop(service_id, None) is not None

    def out(self, now: float) -> Set[str]:
        """Return who sits out now."""
        return {key for key, (until, _) in self._terms.items() if now < until}

    def sweep(self, now: float) -> None:
        """Forget those whose failures count no more."""
        old = [
            key for key, (until, length) in self._terms.items() if now >= until + length
        ]
        for key in old:
            del self._terms[key]
