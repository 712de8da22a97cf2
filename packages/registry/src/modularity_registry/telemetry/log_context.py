"""The fields that log lines share: those of the request, and of the process."""

from contextvars import ContextVar
from typing import Any, NamedTuple

FIELDS = "fields"
"""The attribute of a log record that holds its own fields: see `logs.fields`."""

process_fields: dict[str, Any] = {}
"""The fields of every line of this process: its replica, once that has a name."""


class RequestContext(NamedTuple):
    """A request that is being answered, and its caller.

    ``caller`` is the name of the token that came with it. ``proxy`` is the address of
    the trusted proxy that forwarded it; ``peer`` is the caller that the proxy names.
    """

    request_id: str
    peer: str
    trace_id: str | None = None
    caller: str | None = None
    proxy: str | None = None


current_request: ContextVar[RequestContext | None] = ContextVar(
    "current_request", default=None
)
"""The request that this thread answers: its lines share the request's id."""
