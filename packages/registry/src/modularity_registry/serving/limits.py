"""The limits of the server."""

from dataclasses import dataclass
from typing import Final, NamedTuple

from modularity_registry.ratelimit import Places

_LINGERING: Final = 256
_RAISE = "; raise --max-connections, or add a replica"
_SLOW = ": requests arrive slowly; put a proxy that buffers them in front"


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How the server treats its callers; times are in seconds.

    ``workers`` is the number of processes that answer; the bounds hold for each.
    ``connections`` bounds those open; ``heads`` and ``bodies`` the requests that
    arrive in pieces; ``threads`` the calls that the app answers at once.
    ``header_seconds`` is for a request's head, and for a connection between two
    requests: not 10, so that a caller on a beat of 10 s does not always meet its end.
    ``body_seconds`` is for a whole body. ``unread_seconds`` is how long a caller may
    take nothing of what is sent to it. ``stop_seconds`` is for what is being answered
    when the server is told to stop. ``https`` says that TLS is spoken: SIGHUP then
    means to look for a renewed certificate.
    """

    workers: int = 1
    threads: int = 32
    heads: int = 1024
    bodies: int = 256
    connections: int = 8192
    backlog: int = 4096
    header_seconds: float = 11.0
    body_seconds: float = 10.0
    unread_seconds: float = 30.0
    stop_seconds: float = 3.5
    https: bool = False


class ServerPlaces(NamedTuple):
    """What callers take of a server while they are connected and send.

    ``refusals`` are for those without a place for their connection: it stays open until
    they have seen that. Beyond these it is closed at once, so they are told nowhere.
    """

    connections: Places
    heads: Places
    bodies: Places
    refusals: Places

    @classmethod
    def of(cls, options: ServerOptions) -> "ServerPlaces":
        """Return as many as the options say."""
        return cls(
            Places("connections", options.connections, advice=_RAISE),
            Places("heads", options.heads, options.heads // 4, _SLOW),
            Places("bodies", options.bodies, options.bodies // 4, _SLOW),
            Places("refusals", _LINGERING, _LINGERING // 4),
        )

    def shown(self) -> list[Places]:
        """Return those whose shortage callers notice."""
        return [self.connections, self.heads, self.bodies]
