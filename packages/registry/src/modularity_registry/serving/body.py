"""Request bodies: all of it within the limits, or an error, for any WSGI app."""

import contextlib
import io
from typing import Any, Protocol

from modularity_registry.errors import (
    BodyIncomplete,
    BodyTooLarge,
    InvalidRequest,
    RegistryError,
)
from modularity_registry.serving.slow_uploads import UploadWatch

MAX_BODY = 1_048_576
# Of a body that nobody wants, this much is read and thrown away: most callers look
# for the answer only once they have sent all, and a reset would overtake it.
_MOST_DISCARDED = 16 * 1_048_576
_PIECE = 65_536

# Where the server leaves its `UploadWatch` and the address that a call really came
# from, whatever REMOTE_ADDR is made to say; absent under a framework's test client.
WATCH = "modularity.uploads"
PEER = "modularity.peer"
_BODY = "modularity.body"

Environ = dict[str, Any]


class _Source(Protocol):
    def read(self, size: int, /) -> bytes: ...


def read_body(environ: Environ, limit: int = MAX_BODY) -> bytes:
    """Return the request's whole body, at most ``limit`` bytes.

    Raises `BodyTooLarge` over the limit, `BodyIncomplete` when the connection or the
    server's time for a body ended before it, `TooManyUploads` when too many are being
    read, `InvalidRequest` for a length or coding that makes no sense. Calling it again
    returns the same bytes. From then on ``wsgi.input`` is a file of the body, empty
    after an error, so a framework behind needs no limits of its own.
    """
    kept: bytes | None = environ.get(_BODY)
    if kept is not None:
        return kept
    source: _Source = environ["wsgi.input"]
    _keep(environ, b"")
    length = _declared(environ)
    if length == 0:
        return b""
    if length is not None and length > limit and "HTTP_EXPECT" in environ:
        # The caller waits for leave to send: told no, it never does.
        raise _too_large(limit)
    body = _receive(environ, source, length, limit)
    _keep(environ, body)
    return body


def discard_body(environ: Environ) -> None:
    """Read and forget a body that the app did not ask for. Raises nothing.

    Left in the connection, it would end it, often before the caller saw its answer.
    """
    if _BODY in environ or "HTTP_EXPECT" in environ:
        return
    with contextlib.suppress(RegistryError):
        read_body(environ, 0)


def _keep(environ: Environ, body: bytes) -> None:
    environ[_BODY] = body
    environ["wsgi.input"] = io.BytesIO(body)
    if "HTTP_TRANSFER_ENCODING" in environ:
        environ["CONTENT_LENGTH"] = str(len(body))


def _declared(environ: Environ) -> int | None:
    """Return the body's length in bytes, None for a chunked body."""
    coding: str | None = environ.get("HTTP_TRANSFER_ENCODING")
    length: str = environ.get("CONTENT_LENGTH") or ""
    if coding is not None:
        if coding.strip().lower() != "chunked":
            raise InvalidRequest("a body may be sent chunked, but in no other coding")
        return None
    if not length:
        return 0
    if not (length.isascii() and length.isdecimal()):
        raise InvalidRequest("Content-Length is not a number of bytes")
    return int(length)


def _receive(
    environ: Environ, source: _Source, length: int | None, limit: int
) -> bytes:
    watch: UploadWatch | None = environ.get(WATCH)
    if watch is None:
        return _read(source, length, limit)
    peer: str = environ[PEER]
    upload = watch.begin(peer, interim_reply="HTTP_EXPECT" in environ)
    try:
        body = _read(source, length, limit)
        if length is None and (upload.cut or watch.severed(peer)):
            raise BodyIncomplete("the connection ended before the body was complete")
        return body
    except BodyIncomplete as error:
        if upload.cut:
            raise BodyIncomplete(
                f"the body did not arrive within {watch.seconds:g} seconds"
            ) from error
        raise
    finally:
        watch.end(upload)


def _read(source: _Source, length: int | None, limit: int) -> bytes:
    if length is None:
        body = source.read(limit + 1)
        if len(body) > limit:
            _discard(source, _MOST_DISCARDED)
            raise _too_large(limit)
        return body
    if length > limit:
        _discard(source, min(length, _MOST_DISCARDED))
        raise _too_large(limit)
    body = source.read(length)
    if len(body) < length:
        raise BodyIncomplete(
            f"the connection ended after {len(body)} of {length} bytes of the body"
        )
    return body


def _discard(source: _Source, size: int) -> None:
    while size > 0:
        piece = len(source.read(min(size, _PIECE)))
        if piece == 0:
            return
        size -= piece


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"the body is larger than {limit:,} bytes")
