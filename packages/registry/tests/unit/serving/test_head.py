"""Heads: what a call's environment is made of, and which heads are remembered."""

import gc
import weakref
from typing import Any

import httptools
import pytest

from modularity_registry.serving import head as heads
from modularity_registry.serving.head import (
    LONGEST_HEAD,
    MOST_HEADER_BLOCKS,
    MOST_HEADS,
    Head,
    KnownHeads,
)


def head_of(
    *lines: tuple[bytes, bytes], target: bytes = b"/a", version: str = "1.1"
) -> Head:
    return Head(b"POST", target, version, list(lines), keep_alive=True)


def test_environ_is_as_wsgi_describes_a_call() -> None:
    head = head_of(
        (b"Host", b"a:80"),
        (b"content-type", b" text/plain "),
        (b"Content-Length", b"3"),
        (b"X-Many", b"one"),
        (b"x-many", b"two"),
        (b"X-Latin", b"\xe4"),
        target=b"/caf%C3%A9/a%2Fb?x=%20y",
    )
    assert head.environ == {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/caf\xc3\xa9/a/b",
        "QUERY_STRING": "x=%20y",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "a:80",
        "CONTENT_TYPE": "text/plain",
        "CONTENT_LENGTH": "3",
        "HTTP_X_MANY": "one,two",
        "HTTP_X_LATIN": "\xe4",
    }
    assert (head.path, head.length, head.plain) == ("/café/a/b", 3, True)


def test_header_with_an_underscore_does_not_pass_for_another() -> None:
    assert "HTTP_X_OWNER_KEY" not in head_of((b"X_Owner-Key", b"k")).environ


def test_path_that_is_not_utf8_is_none_but_the_app_has_its_bytes() -> None:
    head = head_of(target=b"/%ff")
    assert (head.path, head.environ["PATH_INFO"]) == (None, "/\xff")


@pytest.mark.parametrize("target", [b"", b"a b", b"https://[::1", b"/" * 70_000])
def test_target_that_is_no_address_is_refused(target: bytes) -> None:
    with pytest.raises(httptools.HttpParserError):
        head_of(target=target)


@pytest.mark.parametrize(
    ("lines", "version", "keep_alive"),
    [
        ([(b"Transfer-Encoding", b"chunked")], "1.1", True),
        ([(b"Expect", b"100-Continue")], "1.1", True),
        ([(b"Upgrade", b"h2c")], "1.1", False),
        ([], "1.0", False),
        ([], "2.0", False),
    ],
)
def test_what_is_special_about_a_head_makes_it_not_plain(
    lines: list[tuple[bytes, bytes]], version: str, keep_alive: bool
) -> None:
    head = head_of(*lines, version=version)
    assert (head.plain, head.keep_alive) == (False, keep_alive)
    assert head.expects == any(name == b"Expect" for name, _ in lines)


def no_paths(head: Head) -> None:
    """Answer for no other path."""


def remembered(
    data: bytes = b"GET / HTTP/1.1\r\n\r\n", body: bytes = b"", **changes: Any
) -> bool:
    known = KnownHeads()
    head = head_of(*changes.pop("lines", ()))
    for name, value in changes.items():
        setattr(head, name, value)
    known.add(data, body, head, no_paths)
    key = data[: data.find(b"\r\n\r\n") + 4]
    assert known.get(key) in (None, head)
    return known.get(key) is head


def test_only_whole_plain_short_heads_that_may_come_again_are_remembered() -> None:
    line = b"GET / HTTP/1.1\r\n"
    assert remembered()
    assert remembered(line + b"\r\nabc", b"abc")
    assert not remembered(line + b"\r\nabc" + line, b"abc")
    assert not remembered(b"\r\n\r\n" + line + b"\r\nabc", b"abc")
    assert not remembered(line)
    assert not remembered(plain=False)
    assert not remembered(line + b"A: " + b"a" * LONGEST_HEAD + b"\r\n\r\n")
    for name in (b"X-Request-ID", b"traceparent"):
        assert not remembered(lines=[(name, b"x")])


def test_number_of_heads_that_are_remembered_is_bounded() -> None:
    known, head = KnownHeads(), head_of()
    for number in range(2 * MOST_HEADS + 7):
        known.add(b"GET /%d HTTP/1.1\r\n\r\n" % number, b"", head, no_paths)
    assert len(known._heads) == MOST_HEADS
    newest = range(MOST_HEADS + 7, 2 * MOST_HEADS + 7)
    assert all(known.get(b"GET /%d HTTP/1.1\r\n\r\n" % n) is head for n in newest)
    assert heads.MOST_HEADS * LONGEST_HEAD <= 16 << 20


def test_a_head_that_is_forgotten_is_free_without_a_search_for_garbage(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(heads, "MOST_HEADS", 1)
    known, requests = KnownHeads(), [b"GET /%d HTTP/1.1\r\n\r\n" % n for n in (0, 0, 1)]
    gc.disable()
    try:
        left = [_remember(known, request) for request in requests]
        assert [each() is None for each in left] == [True, True, False]
    finally:
        gc.enable()


def _remember(known: KnownHeads, request: bytes) -> "weakref.ref[Any]":
    """Remember a head with an answer that holds it; return a reference to that."""
    head = head_of()

    def answer(*_: object) -> None:
        assert head

    head.answer = answer
    known.add(request, b"", head, no_paths)
    return weakref.ref(answer)


GET = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"


def path_answer(connection: object, path: str) -> bytes:
    return path.encode()


def knows(*requests: bytes) -> KnownHeads:
    known = KnownHeads()
    for request in requests:
        known.add(request, b"", head_of(), lambda head: path_answer)
    return known


@pytest.mark.parametrize("path", [b"/a", b"/b/c", b"/Az09-._~:/"])
def test_headers_are_read_once_for_all_paths(path: bytes) -> None:
    found = knows(GET).for_path(GET.replace(b"/a", path))
    assert found == (path_answer, path.decode())


@pytest.mark.parametrize(
    "data",
    [
        GET.replace(b"/a", b"/%61"),
        GET.replace(b"/a", b"/a?b"),
        GET.replace(b"/a", b"/a b"),
        GET.replace(b"/a", b"/a\r\nX: y"),
        GET.replace(b"/a", b"/\xe4"),
        GET.replace(b"GET", b"PUT"),
        GET.replace(b"GET", b"GETS"),
        GET.replace(b"GET /a", b"GET/a"),
        GET.replace(b"/1.1", b"/1.0"),
        GET.replace(b"/1.1", b"/1.0\r\nX: HTTP/1.1"),
        GET.replace(b"Host: a", b"Host: b"),
        GET.replace(b"Host", b"host"),
        GET + b"GET",
        GET[:-1],
        b"\r\n" + GET,
        GET.replace(b"/a", b"/" + b"a" * LONGEST_HEAD),
    ],
)
def test_what_differs_in_more_than_a_plain_path_is_read(data: bytes) -> None:
    assert knows(GET).for_path(data) is None


def test_headers_with_a_body_or_without_an_answer_are_not_remembered() -> None:
    known = KnownHeads()
    known.add(GET, b"", head_of(), no_paths)
    with_body = head_of((b"Content-Length", b"3"))
    known.add(GET + b"abc", b"abc", with_body, lambda head: path_answer)
    assert known.for_path(GET) is None


def test_number_of_headers_that_are_remembered_is_bounded() -> None:
    hosts = range(2 * MOST_HEADER_BLOCKS + 7)
    requests = [GET.replace(b"Host: a", b"Host: %d" % host) for host in hosts]
    known = knows(*requests)
    assert len(known._by_headers) == MOST_HEADER_BLOCKS
    newest = requests[-MOST_HEADER_BLOCKS:]
    assert all(known.for_path(request) is not None for request in newest)
