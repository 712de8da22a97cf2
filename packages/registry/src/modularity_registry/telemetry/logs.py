"""Sets up the log, and adds fields to its lines.

All parts log by the standard library. structlog's formatter writes the lines, so those
of libraries have the same form.
"""

import logging
import sys
from typing import Any

from modularity_registry.telemetry.log_context import (
    FIELDS,
    RequestContext,
    current_request,
    process_fields,
)
from modularity_registry.telemetry.log_stream import BatchingHandler

__all__ = [
    "FORMATS",
    "LEVELS",
    "RequestContext",
    "add_context",
    "batch_lines",
    "configure",
    "current_request",
    "fields",
    "log_event",
]

FORMATS = ("human", "json")
LEVELS = ("debug", "info", "warning", "error")


def configure(form: str, level: str) -> None:
    """Write all logs from ``level`` up to stderr, in the ``form`` "human" or "json".

    Processes that are forked later inherit this. May be called again.
    """
    # Imported late: structlog imports rich, which would slow down every --help.
    import structlog
    from structlog.stdlib import ProcessorFormatter

    from modularity_registry.telemetry import log_format

    process_fields.clear()
    handler = BatchingHandler(sys.stderr)
    handler.setFormatter(log_format.Formatter(form))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
    structlog.configure(
        processors=[ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )


def batch_lines() -> None:
    """Leave the writing to a thread from now on: for a process that does not fork.

    It writes several lines at a time: a line may be written 0.05 s late, from level
    warning up at once.
    """
    for handler in logging.getLogger().handlers:
        if isinstance(handler, BatchingHandler):
            handler.start_batching()


def add_context(**values: Any) -> None:
    """Add these fields to every further line of this process."""
    process_fields.update(values)


def fields(**values: Any) -> dict[str, Any]:
    """Return the ``extra`` of a log call whose line is to have these fields.

    Fields that are None are left out.
    """
    return {FIELDS: {key: v for key, v in values.items() if v is not None}}


def log_event(log: logging.Logger, level: int, event: str, **values: Any) -> None:
    """Log ``event`` with these fields; those that are None are left out.

    Every write logs by it: it costs half of the logger's own methods, which look up
    the line of code that called them.
    """
    if log.isEnabledFor(level):
        record = logging.LogRecord(log.name, level, "", 0, event, None, None)
        record.__dict__.update(fields(**values))
        log.handle(record)
