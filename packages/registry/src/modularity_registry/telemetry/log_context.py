"""What a line carries: whose request a thread is at, and what the process binds."""

from contextvars import ContextVar
from typing import Any, NamedTuple

FIELDS = "fields"
"""The attribute of a log record that holds fields of its own: see `logs.fields`."""

bound: dict[str, Any] = {}
"""What every line of this process carries: its replica, once that has a name."""


class Origin(NamedTuple):
    """The request that something is done for, and who sent it.

    ``caller`` is the name of the token that came with it. ``proxy`` is the address of
    the trusted proxy that it came through; ``peer`` is who that says it is from.
    """

    request_id: str
    peer: str
    trace_id: str | None = None
    caller: str | None = None
    proxy: str | None = None


origin: ContextVar[Origin | None] = ContextVar("origin", default=None)
"""The request that this thread is at, so that its lines can be found together."""
