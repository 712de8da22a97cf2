"""The head of a request, read once, and the heads that callers send again and again."""

from collections.abc import Callable
from functools import lru_cache
from string import ascii_letters, digits
from typing import Any, Final, TypeVar
from urllib.parse import unquote_to_bytes

import httptools

KnownT = TypeVar("KnownT")

Environ = dict[str, Any]
"""A call as WSGI describes it (PEP 3333)."""

Answer = Callable[[Any, bytes], bytes | None]
"""Answers a call at once, given its connection and body: the reply as it goes over the
line, empty if the reply comes in its own time, None to leave the call to the app."""

PathAnswer = Callable[[Any, str], bytes | None]
"""Answers as `Answer` does, given the path in place of the body, which is empty."""

MOST_HEADS: Final = 16_384
MOST_HEADER_BLOCKS: Final = 1_024
LONGEST_HEAD: Final = 1_024
_LINE_END: Final = b" HTTP/1.1\r\n"
# What stands for itself in a path.
_PLAIN: Final = (ascii_letters + digits + "-._~:/").encode()
# These differ from call to call: a head with one of them will not come again.
_NEW_EACH_TIME = ("HTTP_X_REQUEST_ID", "HTTP_TRACEPARENT")


class Head:
    """A request's head. Nothing in it is about one call alone.

    ``environ`` lacks what depends on the connection and the body. ``path`` is None
    where it is not UTF-8; ``length`` (bytes) is None for a body in chunks. ``plain``
    says that the connection goes on after it, with nothing to tell before its body.
    ``streams`` says that the answer goes on and ends the connection: it is not `plain`.
    """

    __slots__ = (
        "answer",
        "environ",
        "expects",
        "keep_alive",
        "length",
        "path",
        "plain",
        "streams",
    )

    def __init__(
        self,
        method: bytes,
        target: bytes,
        version: str,
        headers: list[tuple[bytes, bytes]],
        keep_alive: bool,
    ) -> None:
        """Raises httptools' error for a ``target`` that is no address."""
        url = httptools.parse_url(target)
        raw_path = unquote_to_bytes(url.path or b"")
        self.environ = environ = _environ(headers)
        environ["REQUEST_METHOD"] = method.decode("ascii")
        environ["PATH_INFO"] = raw_path.decode("latin-1")
        environ["QUERY_STRING"] = (url.query or b"").decode("latin-1")
        environ["SERVER_PROTOCOL"] = f"HTTP/{version}"
        self.path = _utf8(raw_path)
        current = version == "1.1"
        # What follows would be another protocol.
        ends = method == b"CONNECT" or "HTTP_UPGRADE" in environ
        self.keep_alive = keep_alive and current and not ends
        expected = environ.pop("HTTP_EXPECT", "").lower()
        self.expects = current and expected == "100-continue"
        chunked = "HTTP_TRANSFER_ENCODING" in environ
        self.length = None if chunked else int(environ.get("CONTENT_LENGTH") or 0)
        self.plain = self.keep_alive and not (self.expects or chunked)
        self.answer: Answer | None = None
        self.streams = False


class KnownHeads:
    """Heads by their bytes: of one that came before, nothing need be read again.

    Of one that differs in its path alone, only the path need be read, if the front
    says so: a caller asks for many paths, but always with the same headers.
    """

    def __init__(self) -> None:
        self._heads: dict[bytes, Head] = {}
        # By what follows the path: what comes before it, and what answers.
        self._by_headers: dict[bytes, tuple[bytes, PathAnswer]] = {}
        self.get = self._heads.get

    def add(
        self,
        data: bytes,
        body: bytes,
        head: Head,
        plan_paths: Callable[[Head], PathAnswer | None],
    ) -> bool:
        """Remember ``head`` if ``data`` is it and ``body``, and it may come again.

        Says whether it does. ``plan_paths`` gives what answers for other paths, None if
        nothing does.
        """
        end = data.find(b"\r\n\r\n") + 4
        if (
            end + len(body) != len(data)
            or end > LONGEST_HEAD
            or not head.plain
            or any(name in head.environ for name in _NEW_EACH_TIME)
        ):
            return False
        forgotten = _put(self._heads, data[:end], head, MOST_HEADS)
        if forgotten is not None and forgotten is not head:
            # It holds the head in turn: else only a search for garbage finds them.
            forgotten.answer = None
        cut = data.find(_LINE_END)
        answer = plan_paths(head) if cut > 0 and not head.length else None
        if answer is not None:
            start = data[: data.find(b" ") + 1]
            _put(self._by_headers, data[cut:], (start, answer), MOST_HEADER_BLOCKS)
        return True

    def for_path(self, data: bytes) -> tuple[PathAnswer, str] | None:
        """Return what answers a request and its path; None: it has to be read."""
        if len(data) > LONGEST_HEAD:
            return None
        cut = data.find(_LINE_END)
        known = self._by_headers.get(data[cut:])
        if known is None:
            return None
        start, answer = known
        path = data[len(start) : cut]
        if not data.startswith(start) or path.translate(None, _PLAIN):
            return None
        return answer, path.decode()


def _put(
    known: dict[bytes, KnownT], key: bytes, value: KnownT, most: int
) -> KnownT | None:
    """Remember ``value``; return what is forgotten for it: the oldest, if any is."""
    forgotten = known.pop(key, None)
    if len(known) >= most:
        forgotten = known.pop(next(iter(known)))
    known[key] = value
    return forgotten


def _environ(headers: list[tuple[bytes, bytes]]) -> Environ:
    environ: Environ = {}
    for raw_name, raw_value in headers:
        name = _name(raw_name)
        if name is None:
            continue
        value = raw_value.decode("latin-1").strip()
        if name in environ:
            value = f"{environ[name]},{value}"
        environ[name] = value
    return environ


@lru_cache(maxsize=256)
def _name(raw: bytes) -> str | None:
    """Return a header's name in WSGI's spelling; None for one to ignore."""
    if b"_" in raw:
        return None  # it would pass for one with a hyphen
    name = raw.decode("latin-1").upper().replace("-", "_")
    return name if name in ("CONTENT_TYPE", "CONTENT_LENGTH") else "HTTP_" + name


def _utf8(path: bytes) -> str | None:
    try:
        return path.decode()
    except UnicodeDecodeError:
        return None
