"""Which providers this process skips because a call to them failed."""

from collections.abc import Set

LONGEST = 120.0
"""No provider is skipped for longer than this many seconds."""


class Quarantine:
    """Providers that failed, and until when to skip them. Not thread-safe.

    The first term is ``seconds``. A failure soon after a term doubles the next one.
    Times are monotonic seconds.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._terms: dict[str, tuple[float, float]] = {}

    def add(self, service_id: str, now: float) -> float | None:
        """Skip a provider; return for how many seconds, None if it already is."""
        until, length = self._terms.get(service_id, (0.0, 0.0))
        if now < until:
            return None  # the call began before the first failure
        again = now < until + length
        length = min(LONGEST, length * 2) if again else self._seconds
        self._terms[service_id] = (now + length, length)
        return length

    def release(self, service_id: str) -> bool:
        """Forget a provider's failures; return whether there were any."""
        return self._terms.pop(service_id, None) is not None

    def members(self, now: float) -> Set[str]:
        """Return the ids of the providers to skip now."""
        terms = self._terms.items()
        return {service_id for service_id, (until, _) in terms if now < until}

    def remove_expired(self, now: float) -> None:
        """Forget failures that no longer lengthen the next term."""
        old = [
            key for key, (until, length) in self._terms.items() if now >= until + length
        ]
        for key in old:
            del self._terms[key]
