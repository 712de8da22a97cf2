"""What stands in front of the app, on the loop: here, nothing."""

from asyncio import Transport
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from modularity_registry.errors import RegistryError
from modularity_registry.serving.head import Answer, Environ, Head, PathAnswer

REFUSAL = "modularity.refusal"
"""Where a call has the error for which it is refused before the app sees its body."""

CALL = "modularity.connection"
"""Where a call has its `Connection`."""

Send = Callable[[dict[str, Any]], Awaitable[None]]


class Connection(Protocol):
    """What a front may do with the connection of a call."""

    transport: Transport

    @property
    def peer(self) -> str:
        """The address at its other end."""

    def environ_of(self, head: Head, body: bytes = b"") -> Environ:
        """Return a new environment for a call."""

    def address_of(self, head: Head) -> str:
        """Return the caller's address: ``REMOTE_ADDR`` in that environment."""

    def reply_later(self) -> Callable[[bytes], None]:
        """Keep what comes next in the queue; return what sends the reply."""

    def take(self, on_lost: Callable[[], None]) -> None:
        """Hand the connection over; ``on_lost`` is called when the caller is gone."""

    def watch(self, on_lost: Callable[[], None] | None) -> None:
        """Call ``on_lost`` if the caller goes away before its reply; None: no more."""

    def end(self) -> None:
        """Close the connection after what is written."""


class Front:
    """Decides on the loop what becomes of a call. All methods return at once."""

    def refusal(self, error: RegistryError) -> bytes:
        """Return the last reply on a connection of which nothing was read."""
        return b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\n\r\n"

    def plan(self, head: Head) -> Answer | None:
        """Return what answers calls with this head at once, None for the app."""
        return None

    def plan_paths(self, head: Head) -> PathAnswer | None:
        """Return what answers calls that differ from ``head`` in their path alone.

        It is given paths in which each character stands for itself, and returns None
        for those that need a plan of their own. None: all do.
        """
        return None

    def wants_body(self, environ: Environ) -> bool:
        """Say whether the app will read the body; else it answers without it.

        Raises the `RegistryError` to answer with, if the app might not find the same.
        """
        return True

    def client(self, environ: Environ) -> str:
        """Return for whom the call's places count."""
        return str(environ["REMOTE_ADDR"])

    def wait(self, environ: Environ) -> Awaitable[None] | None:
        """Return what to await before the app is called, None for nothing."""
        return None

    def stream(self, environ: Environ) -> Callable[[Send], Awaitable[None]] | None:
        """Return what sends the reply in pieces, None for the app."""
        return None
