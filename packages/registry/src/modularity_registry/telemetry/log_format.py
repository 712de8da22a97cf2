"""Formats the lines of the log, and removes secrets from them."""

import json
import logging
import re
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec
import structlog
from structlog.stdlib import ProcessorFormatter
from structlog.typing import Processor

from modularity_registry.clock import rfc3339
from modularity_registry.model.printable import printable
from modularity_registry.telemetry.log_context import (
    FIELDS,
    current_request,
    process_fields,
)

Event = MutableMapping[str, Any]


class Formatter(ProcessorFormatter):
    """structlog's, with a shortcut for lines without an exception."""

    def __init__(self, form: str) -> None:
        """Return one that writes JSON if ``form`` is "json", else lines for people."""
        render: Processor = _json if form == "json" else _human
        super().__init__(
            processors=[
                _described,
                structlog.processors.format_exc_info,
                _without_secrets,
                render,
            ]
        )
        self._render = render

    def format(self, record: logging.LogRecord) -> str:
        if type(record.msg) is not str or record.exc_info or record.stack_info:
            return super().format(record)
        # The same without copies of the record, which cost half of a line.
        event: Event = {"event": record.getMessage(), "_record": record}
        event = _without_secrets(None, "", _described(None, "", event))
        return str(self._render(None, "", event))


def _described(logger: Any, method: str, event: Event) -> Event:
    """Return the line's fields in order: time, level, logger, event, request, more."""
    record: logging.LogRecord = event.pop("_record")
    event.pop("_from_structlog", None)
    line: Event = {
        "timestamp": _timestamp(record.created),
        "level": record.levelname.lower(),
        "logger": record.name,
        "event": event.pop("event"),
        **process_fields,
    }
    own = getattr(record, FIELDS, None)
    request = current_request.get()
    if request is not None:
        line["request_id"] = request.request_id
        if request.trace_id is not None:
            line["trace_id"] = request.trace_id
        line["peer"] = request.peer
        if request.caller is not None:
            line["caller"] = request.caller
    if isinstance(own, Mapping):
        line.update(own)
    line.update(event)
    return line


def _timestamp(seconds: float) -> str:
    whole, fraction = divmod(int(seconds * 1_000_000), 1_000_000)
    return f"{_second(whole)}{fraction:06}Z"


@lru_cache(maxsize=4)
def _second(whole: int) -> str:
    return rfc3339(datetime.fromtimestamp(whole, UTC))[: -len("000000Z")]


# From the scheme to the last @ of the word: a password may hold any other character.
_USERINFO = re.compile(r"://[^\s\"'<>]*@")
_SECRET = re.compile(r"""(?ix)
    ( (?: password | passwd | pwd | secret | token | api_?key )
      (?: = | ["']\s*:\s*["'] )
    | authorization ["']? \s* [:=] \s* ["']? (?: \w+ \s+ )?
    | \b bearer \s+ )
    [^\s"'&,;]+ """)
# Every match contains one of these, and to search for them is quick.
_SIGNS = ("=", '":', "':", "uthorization", "earer ")


def redacted(text: str) -> str:
    """Return ``text`` without the credentials of URLs, passwords and tokens."""
    if "@" in text:
        text = _USERINFO.sub("://***@", text)
    for sign in _SIGNS:
        if sign in text:
            return _SECRET.sub(r"\1***", text)
    return text


def _without_secrets(logger: Any, method: str, event: Event) -> Event:
    for name, value in event.items():
        if name in _SAFE:
            continue
        if type(value) is str:
            event[name] = redacted(value)
        elif not isinstance(value, int | float | None):
            event[name] = redacted(str(value))
    return event


# The registry makes or checks these: they can't contain a secret.
_SAFE = frozenset(
    {
        "timestamp",
        "level",
        "logger",
        "replica",
        "request_id",
        "trace_id",
        "peer",
        "caller",
    }
    | {"service_id", "revision", "method", "status", "mode", "version"}
)

_encode = msgspec.json.Encoder().encode


def _json(logger: Any, method: str, event: Event) -> str:
    try:
        return _encode(event).decode()
    except (TypeError, UnicodeEncodeError):
        # A lone surrogate, as in a file name that is not UTF-8.
        return json.dumps(event, default=str)


_PLAIN = re.compile(r"[A-Za-z0-9._:/@+\-\[\]*]+")
_FIRST = frozenset({"timestamp", "level", "logger", "event", "replica", "exception"})


def _human(logger: Any, method: str, event: Event) -> str:
    """Return one line for people, followed by the traceback of an exception."""
    words = [
        f"{event['timestamp']} {event['level'].upper()} {event['logger']}:"
        f" {printable(str(event['event']))}"
    ]
    words += [
        f"{name}={value if name in _SAFE else _quoted(value)}"
        for name, value in event.items()
        if name not in _FIRST
    ]
    text = " ".join(words)
    trace = event.get("exception")
    if trace is None:
        return text
    # Further lines begin with a blank: none can pass for a line of the log.
    return "\n  ".join([text, *map(printable, str(trace).split("\n"))])


def _quoted(value: Any) -> str:
    text = str(value)
    if _PLAIN.fullmatch(text):
        return text
    return printable(json.dumps(text, ensure_ascii=False))
