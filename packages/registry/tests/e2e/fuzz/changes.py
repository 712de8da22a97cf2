"""Requests with changed fields, headers and addresses, but framed as HTTP has it."""

import json
import random
import re
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from e2e.fuzz.request import OWNER_KEY, Asked
from e2e.fuzz.texts import HEADERS, LOCATIONS, METHODS, TEXTS, VALUES

_WAIT = re.compile(rb"([?&]wait=)[^&]*")
_WAITS = (b"0", b"0.05", b"-1", b"nan", b"1e9", b"9" * 30, b"", b"x")
_LARGE = 1_048_577
_PARAMETERS = (
    *(b"status", b"capability", b"mode", b"name", b"version", b"limit", b"cursor"),
    *(b"wait", b"revision", b"strategy", b"key", b"metadata.a", b"metadata.", b"x"),
)


def changed(asked: Asked, rng: random.Random) -> Asked:
    """Return the request with one to four changes; it waits for nothing for long."""
    for _ in range(rng.randint(1, 4)):
        asked = rng.choice(_CHANGES)(asked, rng)
    return replace(asked, target=brief(asked.target, rng))


def brief(target: bytes, rng: random.Random) -> bytes:
    """Return the target without a wait that would be granted and is long."""
    return _WAIT.sub(lambda found: found[1] + rng.choice(_WAITS), target)


def framed(asked: Asked) -> bytes:
    """Return the request as it goes over the line."""
    lines = [b"%s %s HTTP/1.1" % (asked.method, asked.target)]
    if not any(name == b"Host" for name, _ in asked.headers):
        lines.append(b"Host: 127.0.0.1")
    lines += [b"%s: %s" % header for header in asked.headers]
    if asked.body is not None:
        lines.append(b"Content-Length: %d" % len(asked.body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + (asked.body or b"")


def _method(asked: Asked, rng: random.Random) -> Asked:
    return replace(asked, method=rng.choice(METHODS))


def _header(asked: Asked, rng: random.Random) -> Asked:
    added = rng.sample(HEADERS, rng.randint(1, 3))
    if rng.random() < 0.5:  # in place of its namesake, else beside it
        names = {name for name, _ in added}
        kept = [pair for pair in asked.headers if pair[0] not in names]
        return replace(asked, headers=(*kept, *added))
    return replace(asked, headers=(*asked.headers, *added))


def _segment(asked: Asked, rng: random.Random) -> Asked:
    path, mark, query = asked.target.partition(b"?")
    parts = path.split(b"/")
    at = rng.randrange(1, len(parts)) if len(parts) > 1 else 0
    parts[at] = _quoted(rng)
    return replace(asked, target=b"/".join(parts) + mark + query)


def _query(asked: Asked, rng: random.Random) -> Asked:
    path, _, query = asked.target.partition(b"?")
    pairs = query.split(b"&") if query else []
    name = rng.choice(_PARAMETERS)
    if pairs and rng.random() < 0.5:
        at = rng.randrange(len(pairs))
        pairs[at] = pairs[at].partition(b"=")[0] + b"=" + _quoted(rng)
    else:
        pairs.append(name + b"=" + _quoted(rng))
    if rng.random() < 0.01:
        pairs *= rng.choice((2, 50, 400))
    return replace(asked, target=path + b"?" + b"&".join(pairs)[:50_000])


def _quoted(rng: random.Random) -> bytes:
    text = rng.choice(TEXTS)
    if rng.random() < 0.3 and "%" in text:
        return quote(text, safe="%").encode()  # as it is, sound or not
    return quote(text, safe=rng.choice(("", "/", "/:,;=@"))).encode()


def _field(asked: Asked, rng: random.Random) -> Asked:
    """Change, drop or add something in the JSON of the body."""
    try:
        value = json.loads(asked.body or b"{}")
    except (ValueError, RecursionError):
        return _text(asked, rng)
    for _ in range(rng.randint(1, 3)):
        value = _spoiled(value, rng)
    body = json.dumps(value, ensure_ascii=rng.random() < 0.5)
    return replace(asked, body=body.encode("utf-8", "surrogatepass"))


def _spoiled(value: Any, rng: random.Random) -> Any:
    if isinstance(value, dict) and value and rng.random() < 0.9:
        return _spoiled_object(value, rng)
    if isinstance(value, list) and value and rng.random() < 0.7:
        copy = list(value)
        at = rng.randrange(len(copy))
        copy[at] = _spoiled(copy[at], rng)
        # Once only: a few of these within each other would be too much for any memory.
        often = 300 if len(copy) < 5 and not any(map(_holds_more, copy)) else 1
        return copy * rng.choice((1, 1, 1, often))
    return rng.choice(VALUES) if rng.random() < 0.5 else rng.choice(TEXTS)


def _holds_more(value: object) -> bool:
    return isinstance(value, list | dict)


def _spoiled_object(value: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    copy = dict(value)
    name = rng.choice(list(copy))
    what = rng.random()
    if what < 0.15:
        del copy[name]
    elif what < 0.3:
        copy[rng.choice(TEXTS)] = rng.choice(VALUES)
    elif name == "location":
        copy[name] = rng.choice(LOCATIONS)
    elif name == "owner_key":
        copy[name] = rng.choice((OWNER_KEY.decode(), "short", "", 1, None, []))
    else:
        copy[name] = _spoiled(copy[name], rng)
    return copy


def _text(asked: Asked, rng: random.Random) -> Asked:
    """Change the body as a text: what is hardly JSON any more."""
    body = asked.body or b"{}"
    depth = rng.choice((50, 1_000, 100_000))
    made = rng.choice(
        (
            lambda: b"\xef\xbb\xbf" + body,
            lambda: body.decode("utf-8", "replace").encode("utf-16"),
            lambda: body[: rng.randrange(len(body) + 1)],
            lambda: body + rng.choice((b"{}", b"\0", b"//", b"\xff", b"]")),
            lambda: body.replace(b"{", b'{"id":"hello-service",', 1),
            lambda: b"[" * depth,
            lambda: b"[" * depth + b"]" * depth,
            lambda: b'{"metadata":' * depth + b"1" + b"}" * depth,
            lambda: b"",
            lambda: b"\0" * 40,
            lambda: b'{"id": "\xed\xa0\x80"}',
            lambda: b'{"id": "\\ud800"}',
            lambda: b'{"weight": 1' + b"0" * 5_000 + b"}",
            lambda: body + b" " * 20_000,
            lambda: b"a=b&c=d",
        )
    )()
    if rng.random() < 0.002:
        made = body + b" " * _LARGE
    return replace(asked, body=made)


_CHANGES = (_method, _header, _header, _segment, _query, _query, _field, _field, _text)
