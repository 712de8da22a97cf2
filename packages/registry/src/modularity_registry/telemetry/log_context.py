"""What every log line carries: the request it belongs to, and the replica."""

from contextvars import ContextVar
from typing import Any, NamedTuple

FIELDS = "fields"
"""The attribute of a log record that holds fields of its own: see `logs.fields`."""

bound: dict[str, Any] = {}
"""What every line of this process carries: its replica, once that has a name."""


class RequestContext(NamedTuple):
    """The request that is being answered, and who sent it.

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
"""The request that this thread answers, so that its lines can be found together."""
