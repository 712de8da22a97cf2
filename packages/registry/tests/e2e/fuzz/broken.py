"""What is hardly HTTP any more: lengths, chunks, heads and bytes that are wrong."""

import random
from collections.abc import Callable
from dataclasses import replace

from e2e.fuzz.changes import framed
from e2e.fuzz.request import Asked

_SIZES: tuple[bytes, ...] = (
    b"0x5",
    b"-1",
    b"+5",
    b"5 ",
    b" 5",
    b"G",
    b"",
    b"F" * 16,
    b"F" * 17,
)
_SIZES += (b"1" * 1_000, b"5;" + b"a" * 5_000, b'5;a="\n"', b"5\0", b"00000005", b"5")
_LENGTHS: tuple[bytes, ...] = (
    b"-1",
    b"+5",
    b"0x5",
    b"5, 5",
    b"5,6",
    b"",
    b"5 5",
    b"1_0",
    b"1e1",
)
_LENGTHS += (b"9" * 30, b"18446744073709551616", b"\xb2", b"5;", b"00005", b"5")
_CODINGS: tuple[bytes, ...] = (
    b"chunked",
    b"Chunked",
    b"chunked, chunked",
    b"gzip, chunked",
)
_CODINGS += (b"chunked, gzip", b"xchunked", b"identity", b"\x0bchunked", b"chunked;q=1")
_CODINGS += (b"", b",chunked", b"chunked\0", b'"chunked"')
_TARGETS: tuple[bytes, ...] = (
    b"http://127.0.0.1/health",
    b"http://evil.example/",
    b"https://[::1",
    b"*",
)
_TARGETS += (b"127.0.0.1:80", b"/health#x", b"/\xff\xfe", b"/%ff%fe", b"/%c0%ae%c0%ae")
_TARGETS += (b"/%", b"/%0", b"/%zz", b"/%00", b"/%0d%0aX-Injected:%201", b"//", b"")
_TARGETS += (
    b"/a b",
    b"/\\..\\",
    b"/api/services/..%2f..",
    b"/;x",
    b"/\0",
    b"/?\0",
    b"?",
)
_TARGETS += (b"/api/services/%2e%2e/%2e%2e/health", b"://", b"/" + b"a" * 70_000)
_TARGETS += (b"/" * 5_000, b"/?" + b"a&" * 20_000, "/é".encode(), b"/api/./services")
_VERSIONS: tuple[bytes, ...] = (
    b"HTTP/1.1",
    b"HTTP/1.0",
    b"HTTP/0.9",
    b"HTTP/2.0",
    b"HTTP/9.9",
    b"http/1.1",
)
_VERSIONS += (
    b"HTTP/1.1 ",
    b"HTTP/1.",
    b"HTTP/11",
    b"HTTP/1.1\0",
    b"HTTPS/1.1",
    b"",
    b"X",
)
_LINES: tuple[bytes, ...] = (
    b"Folded: a\r\n b",
    b" Lead: a",
    b"Name : a",
    b"No colon",
    b": empty",
    b"A: \0",
)
_LINES += (
    b"A: b\rc",
    b"A: b\nB: c",
    "É: a".encode(),
    b"A\0: b",
    b"A: " + b"a" * 70_000,
)
_LINES += (b"A" * 70_000 + b": b", b"\r\n".join([b"A: b"] * 150), b"Host: a", b"\t: a")
_LINES += (b"A:", b"A: \xff\x80", b"A: \x7f", b"(A): b", b"A: b\r\n\r\n\r\n")
_OTHERS = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 32,
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"GET /\r\n",
    b"GET /\n\n",
    b"GET\r\n\r\n",
    b"\r\n\r\n\r\nGET /health HTTP/1.1\r\nHost: a\r\n\r\n",
    b"\n" * 300,
    b"\0" * 300,
    b"CONNECT 127.0.0.1:80 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"EHLO a\r\n",
    b"*1\r\n$4\r\nPING\r\n",
    b"GET /health HTTP/1.1\r\nHost: a\r\n",
    b"GET /hea",
    b"",
)


def broken(asked: Asked, rng: random.Random) -> bytes:
    """Return bytes that begin like this request and are spoiled somewhere.

    Its end may be missing, or more may follow: the sender has to stop there.
    """
    return rng.choice(_KINDS)(asked, rng)


def _head(asked: Asked, *more: bytes) -> bytes:
    """The request's head with other lines in place of its length."""
    whole = framed(replace(asked, body=None)).removesuffix(b"\r\n\r\n")
    return b"\r\n".join([whole, *more]) + b"\r\n\r\n"


def _length(asked: Asked, rng: random.Random) -> bytes:
    body = asked.body or b"{}"
    lengths = [rng.choice((*_LENGTHS, b"%d" % (len(body) + rng.randint(-3, 3))))]
    if rng.random() < 0.4:
        lengths.append(rng.choice((*_LENGTHS, b"%d" % len(body))))
    lines = [b"Content-Length: " + length for length in lengths]
    if rng.random() < 0.3:
        lines.append(b"Transfer-Encoding: " + rng.choice(_CODINGS))
    return _head(asked, *lines) + body


def _chunks(asked: Asked, rng: random.Random) -> bytes:
    body = asked.body or b"{}"
    cut = rng.randrange(len(body) + 1)
    coding = rng.choice((b"chunked", b"chunked", *_CODINGS))
    pieces = []
    for piece in (body[:cut], body[cut:]):
        size = b"%x" % len(piece) if rng.random() < 0.7 else rng.choice(_SIZES)
        ending = (
            b"\r\n" if rng.random() < 0.9 else rng.choice((b"\n", b"", b"\r", b"x"))
        )
        if piece:
            pieces.append(size + b"\r\n" + piece + ending)
    trailers: tuple[bytes, ...] = (
        b"0\r\n\r\n",
        b"0\r\nContent-Length: 5\r\n\r\n",
        b"0\r\n",
        b"",
        b"00\r\n\r\n",
    )
    trailers += (b"0\r\n" + b"A: b\r\n" * 300 + b"\r\n", b"0;x\r\nHost: b\r\n\r\n")
    ending = rng.choice((b"0\r\n\r\n", *trailers))
    # What follows must not be taken for a call of its own by one side alone.
    after = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n" if rng.random() < 0.2 else b""
    head = _head(asked, b"Transfer-Encoding: " + coding)
    return head + b"".join(pieces) + ending + after


def _start(asked: Asked, rng: random.Random) -> bytes:
    method, version = asked.method, b"HTTP/1.1"
    target = asked.target
    if rng.random() < 0.3:
        method = rng.choice((b"", b"G\0T", b"GE T", b"A" * 9_000, b"\xff", b"CONNECT"))
    if rng.random() < 0.6:
        target = rng.choice(_TARGETS)
    if rng.random() < 0.3:
        version = rng.choice(_VERSIONS)
    space = rng.choice((b" ", b" ", b" ", b"  ", b"\t", b""))
    rest = framed(asked).partition(b"\r\n")[2]
    return method + space + target + b" " + version + b"\r\n" + rest


def _line(asked: Asked, rng: random.Random) -> bytes:
    start, _, rest = framed(asked).partition(b"\r\n")
    line_end = rng.choice((b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r"))
    added = line_end.join(rng.sample(_LINES, rng.randint(1, 2)))
    return start + b"\r\n" + added + line_end + rest


def _bytes(asked: Asked, rng: random.Random) -> bytes:
    raw = framed(asked)
    # A changed letter in the name of a host would have it looked up.
    if b"://" in raw:
        raw = framed(replace(asked, body=b"{}"))
    for _ in range(rng.randint(1, 8)):
        at = rng.randrange(len(raw) + 1)
        end = at + rng.choice((1, 1, 2, 8, 64))
        raw = raw[:at] + _garbled(raw[at:end], rng) + raw[end:]
    return raw


def _garbled(piece: bytes, rng: random.Random) -> bytes:
    what = rng.randrange(5)
    if what == 0:
        return bytes(each ^ 1 << rng.randrange(8) for each in piece)
    if what == 1:
        return rng.randbytes(len(piece))
    if what == 2:
        return b""
    if what == 3:
        return piece * rng.choice((2, 3, 100))
    return rng.choice((b"\r\n", b"\n", b"\0", b"\xff", b" ", b":", b"%"))


def _other(_asked: Asked, rng: random.Random) -> bytes:
    other = rng.choice(_OTHERS)
    return other if rng.random() < 0.5 else other + rng.randbytes(rng.randrange(400))


def _early_end(asked: Asked, rng: random.Random) -> bytes:
    raw = framed(asked)
    return raw[: rng.randrange(len(raw))]


_KINDS: tuple[Callable[[Asked, random.Random], bytes], ...] = (
    _length,
    _chunks,
    _chunks,
    _start,
    _start,
    _line,
    _bytes,
    _bytes,
    _other,
    _early_end,
)
