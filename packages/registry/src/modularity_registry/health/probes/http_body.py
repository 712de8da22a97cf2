"""What the body of an answer says of the service's health.

A JSON object may name a status, and a reason for it. It is decoded as HTTP and JSON
say; one that can't be read is a failure, since it may say anything. All other bodies
say nothing.
"""

import codecs
import json
import re
import zlib
from dataclasses import dataclass
from typing import Final

import msgspec

from modularity_registry.health.probes.outcome import CheckFailed

BODY_LIMIT: Final = 65_536
"""Bytes of a body, as it is sent and when it is decompressed."""

REASON_LIMIT: Final = 200
"""Characters of a service's own reason; a longer one is cut."""

# Spring's health, Consul, draft-inadarei-api-health-check and what else is in use.
# Words that are on neither side (healthy, up, pass, degraded, warn) do no harm.
_BAD: Final = frozenset(
    {
        *("unhealthy", "down", "fail", "failed", "failing", "failure", "critical"),
        *("error", "dead", "offline", "stopped", "unavailable"),
        *("not_serving", "out_of_service"),
    }
)
_WARNING: Final = "warning"
_SEPARATORS = re.compile(r"[\s-]+")
# Python knows more, among them some that take far longer than their input is long.
_CHARSETS: Final = re.compile(r"(utf-(8|16|32)|ascii|iso8859-|cp125)")
_WINDOW_BITS: Final = {"gzip": 31, "x-gzip": 31, "deflate": 15}  # see zlib


# Ours, and what Spring, problem+json and draft-inadarei-api-health-check write.
class _Body(msgspec.Struct):
    status: object = None
    reason: object = None
    message: object = None
    detail: object = None
    output: object = None


@dataclass(frozen=True, slots=True)
class HealthReport:
    """What a service says of itself: a bad word as its ``status``, and why.

    Both are empty where it says nothing. ``reason`` is one line of printable text.
    ``warns`` says that the word is no worse than a warning.
    """

    status: str = ""
    reason: str = ""

    @property
    def warns(self) -> bool:
        return self.status == _WARNING


_decoder: Final = msgspec.json.Decoder(_Body)


def read_report(body: bytes, coding: str, charset: str | None) -> HealthReport:
    """Return what a body says.

    ``body`` is what was sent, up to a byte more than `BODY_LIMIT`; ``coding`` is its
    ``Content-Encoding`` and ``charset`` that of its ``Content-Type``. Raises
    `CheckFailed` for a JSON object that can't be read.
    """
    too_long = len(body) > BODY_LIMIT
    if coding not in ("", "identity"):
        body = _decompress(body, coding, cut_off=too_long)
        too_long = too_long or len(body) > BODY_LIMIT
    encoding = _encoding(body, charset)
    start = body[:256].decode(encoding, "ignore").lstrip("\ufeff \t\r\n")
    if not start.startswith("{"):
        return HealthReport()
    if too_long:
        raise CheckFailed(
            "status",
            f"the body is longer than {BODY_LIMIT:,} bytes, so its status is not read",
        )
    try:
        text = body.decode(encoding).removeprefix("\ufeff")
        content = _decoder.decode(text)
    except UnicodeDecodeError:
        raise CheckFailed("status", f"the body is not valid {encoding}") from None
    except (msgspec.MsgspecError, RecursionError):
        raise CheckFailed(
            "status", "the body begins as a JSON object, but is not valid JSON"
        ) from None
    texts = (content.reason, content.message, content.detail, content.output)
    reasons = (_one_line(text) for text in texts if isinstance(text, str))
    reason = next(filter(None, reasons), "")
    return HealthReport(_bad_word(content.status), reason)


def read_json(body: bytes, coding: str, charset: str | None) -> object:
    """Return the JSON value that a body holds; arguments as for `read_report`.

    Raises `CheckFailed` if it holds none.
    """
    too_long = len(body) > BODY_LIMIT
    if coding not in ("", "identity"):
        body = _decompress(body, coding, cut_off=too_long)
    if too_long or len(body) > BODY_LIMIT:
        message = f"the body is longer than {BODY_LIMIT:,} bytes, so it is not read"
        raise CheckFailed("status", message)
    try:
        text = body.decode(_encoding(body, charset)).removeprefix("\ufeff")
        return msgspec.json.decode(text)
    except (UnicodeDecodeError, msgspec.MsgspecError, RecursionError):
        raise CheckFailed("status", "the body is not valid JSON") from None


def _bad_word(status: object) -> str:
    if not isinstance(status, str):
        return ""
    word = _SEPARATORS.sub("_", status.strip().lower())
    return word if word == _WARNING or word in _BAD else ""


def _one_line(text: str) -> str:
    """Return a text as something that can't spoil a table or a terminal."""
    line = " ".join(text[: REASON_LIMIT * 4].split())
    line = "".join(character for character in line if character.isprintable())
    return line if len(line) <= REASON_LIMIT else f"{line[: REASON_LIMIT - 1]}…"


def _encoding(body: bytes, charset: str | None) -> str:
    """Return the codec of a body: as declared, else as its first bytes look."""
    try:
        name = codecs.lookup(charset or "").name
        if _CHARSETS.match(name):
            return name
    except LookupError:
        pass
    return json.detect_encoding(body)


def _decompress(body: bytes, coding: str, cut_off: bool) -> bytes:
    """Return up to a byte more than `BODY_LIMIT` of what was compressed."""
    if coding not in _WINDOW_BITS:
        raise CheckFailed(
            "protocol",
            "the body is compressed in a way that the check does not read; it asks for"
            " no compression, and reads gzip and deflate",
        )
    inflater = zlib.decompressobj(_WINDOW_BITS[coding])
    if coding == "deflate" and body[:1] and body[0] & 0x0F != zlib.DEFLATED:
        inflater = zlib.decompressobj(-15)  # many send it without zlib's header
    try:
        content = inflater.decompress(body, BODY_LIMIT + 1)
    except zlib.error:
        raise CheckFailed("protocol", f"the body is not valid {coding}") from None
    if not (inflater.eof or cut_off or len(content) > BODY_LIMIT):
        raise CheckFailed("closed", "the compressed body was cut off")
    return content
