"""A request before it is framed as HTTP has it."""

from dataclasses import dataclass

# The key of every registration: with it, the test can unregister the service.
OWNER_KEY = b"a-key-of-those-who-try-everything"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request before it is framed; ``body`` is None for one that has none."""

    method: bytes
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes | None = None

    @property
    def streams(self) -> bool:
        """Whether its reply may go on for ever."""
        return self.target.startswith(b"/api/events")
