"""A call of another registry's API, and its reply."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from typing import Any

from modularity_registry.api import authorization, rate_limits, replies
from modularity_registry.model.rights import Caller, Claim
from modularity_registry.runtime import Registry
from modularity_registry.serving.head import Environ

Header = tuple[str, str]


@dataclass(frozen=True)
class Call:
    """One call, whole, from a caller who has the right to make it.

    ``registry`` is that of the namespace. ``names`` are the parameters in the path,
    ``arguments`` those behind it, in their order.
    """

    registry: Registry
    environ: Environ
    caller: Caller
    body: bytes
    names: Mapping[str, Any] = field(default_factory=dict)
    arguments: Sequence[tuple[str, str]] = ()

    @cached_property
    def client(self) -> str:
        """For whom the call's places count."""
        return rate_limits.client_of(self.environ, self.caller)

    @property
    def claim(self) -> Claim:
        """On whose behalf services are written."""
        return authorization.claim(self.environ, self.caller)

    @property
    def is_local(self) -> bool:
        """Whether the caller is on this machine."""
        return replies.caller_is_local(self.environ)

    async def count_write(self) -> None:
        """Count the call as a write, where its route does not.

        Raises `TooManyRequests` if the client is over its rate.
        """
        rate = self.registry.rates.writes
        if rate is None:
            return
        if rate.waits:
            await asyncio.to_thread(rate.take, self.client)
        else:
            rate.take(self.client)

    def header(self, name: str) -> str | None:
        """Return a header of the call, such as ``Accept``; None if it has none."""
        key = name.upper().replace("-", "_")
        return self.environ.get(key if key == "CONTENT_TYPE" else f"HTTP_{key}")

    def argument(self, name: str) -> str | None:
        """Return the first argument with this name; None if there is none."""
        return next((value for key, value in self.arguments if key == name), None)

    def all_arguments(self, name: str) -> list[str]:
        """Return all arguments with this name, in order."""
        return [value for key, value in self.arguments if key == name]


@dataclass(slots=True, eq=False, weakref_slot=True)
class Reply:
    """A reply. ``headers`` come before those that every reply has.

    What answers many calls with the same reply should keep it: its head is rendered
    once.
    """

    status: int
    body: bytes = b""
    content_type: str = replies.JSON
    headers: Sequence[Header] = ()
    _head: bytes = field(default=b"", init=False, repr=False)

    def render(
        self, fixed: Sequence[Header], own: bytes = b"", with_body: bool = True
    ) -> bytes:
        """Return the reply as it goes over the line.

        ``fixed`` are the headers of all replies, the same at every call; ``own`` are
        the lines of this one's. A call by `HEAD` gets no body, and the same headers.
        """
        if not self._head:
            status = HTTPStatus(self.status)
            line = f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode()
            self._head = line + lines_of(self.lines(fixed))
        body = self.body if with_body else b""
        return b"%b%b\r\n%b" % (self._head, own, body)

    def lines(self, fixed: Sequence[Header]) -> list[Header]:
        """Return all headers, in their order."""
        lines = [*self.headers, *fixed]
        if self.status not in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
            lines.append(("Content-Length", str(len(self.body))))
            if self.body:
                lines.insert(0, ("Content-Type", self.content_type))
        return lines


def encoded(header: Header) -> tuple[bytes, bytes]:
    """Return a header as it goes over the line, whatever its value is made of.

    A value may repeat what a caller has sent: no character of it ends the line.
    """
    name, value = header
    if not value.isascii() or not value.isprintable():
        value = _unsendable.sub("?", value)
    return name.lower().encode(), value.encode()


_unsendable = re.compile(r"[^ -~]")


def lines_of(headers: Sequence[Header]) -> bytes:
    """Return headers as they stand in the head of a reply."""
    return b"".join(b"%b: %b\r\n" % encoded(header) for header in headers)
