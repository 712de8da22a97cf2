"""The log: its form, what it must not show, whose request a line is about.

All parts log by the standard library; structlog's formatter makes the lines of that,
so those of libraries come out in the same form.
"""

import logging
import sys
from typing import Any

from modularity_registry.telemetry.log_context import (
    FIELDS,
    RequestContext,
    bound,
    current_request,
)
from modularity_registry.telemetry.log_stream import Stream

__all__ = [
    "FORMATS",
    "LEVELS",
    "RequestContext",
    "bind",
    "configure",
    "current_request",
    "fields",
    "gather",
    "say",
]

FORMATS = ("human", "json")
LEVELS = ("debug", "info", "warning", "error")


def configure(form: str, level: str) -> None:
    """Write all logs from ``level`` up to stderr, in the ``form`` "human" or "json".

    It holds for processes that are forked later as well. May be called again.
    """
    # Imported late: with rich in its train it would slow down every --help.
    import structlog
    from structlog.stdlib import ProcessorFormatter

    from modularity_registry.telemetry import log_format

    bound.clear()
    handler = Stream(sys.stderr)
    handler.setFormatter(log_format.Formatter(form))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
    structlog.configure(
        processors=[ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )


def gather() -> None:
    """Write lines together from now on: for a process that forks no other one.

    A line may wait for 0.05 s; from level warning up it does not.
    """
    for handler in logging.getLogger().handlers:
        if isinstance(handler, Stream):
            handler.gather()


def bind(**values: Any) -> None:
    """Have every further line of this process carry these fields."""
    bound.update(values)


def fields(**values: Any) -> dict[str, Any]:
    """Return what to give a log call as ``extra``, so that its line has these fields.

    Those that are None are left out.
    """
    shown = {key: each for key, each in values.items() if each is not None}
    return {FIELDS: shown}


def say(log: logging.Logger, level: int, event: str, **values: Any) -> None:
    """Log ``event`` with these fields; those that are None are left out.

    For what is logged with every write: it costs half of what the logger's own methods
    do, which look up the line of code that called them.
    """
    if log.isEnabledFor(level):
        record = logging.LogRecord(log.name, level, "", 0, event, None, None)
        record.__dict__.update(fields(**values))
        log.handle(record)
