"""The quick decoder of registrations takes what `parse` takes, and nothing else."""

import json
import random
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modularity_registry import schema
from modularity_registry.errors import InvalidRequest
from modularity_registry.model.service import RegistrationRequest
from modularity_registry.schema import registration_decoder
from modularity_registry.schema.patterns import is_blank
from support.registry import registration


def slowly(body: bytes) -> RegistrationRequest | None:
    """What `parse` makes of it without the quick decoder; None if it refuses."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registration_decoder, "decode", lambda _: None)
        try:
            return schema.parse_registration_request(body)
        except InvalidRequest:
            return None


def assert_agrees(body: bytes) -> RegistrationRequest | None:
    """What the quick decoder takes is what `parse` takes, to the last byte."""
    quick = registration_decoder.decode(body)
    if quick is not None:
        slow = slowly(body)
        assert quick == slow
        assert slow is not None and schema.encode(quick[0]) == schema.encode(slow[0])
    return quick


TEXT = st.text(
    st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20
).filter(lambda text: not is_blank(text))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
LOCATIONS = {
    "http": ("http://10.0.0.1:8080", "https://a.example/x%20y", "http://[fd00::5]:1"),
    "tcp": ("tcp://10.0.0.1:5432", "tcp://localhost:1"),
    "grpc": ("grpc://10.0.0.1:50051",),
    "embedded": ("here", "ü:8080", "http://10.0.0.1"),
    "standalone": ("here",),
    "ipc": ("/run/socket",),
}
NAME = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:\-]{0,20}", fullmatch=True)
LABEL = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._\-]{0,20}", fullmatch=True)


@st.composite
def good_bodies(draw: st.DrawFn) -> dict[str, Any]:
    mode = draw(st.sampled_from(sorted(LOCATIONS)))
    body: dict[str, Any] = {
        "id": draw(NAME),
        "name": draw(TEXT),
        "capabilities": draw(st.lists(NAME, max_size=4)),
        "location": draw(st.sampled_from(LOCATIONS[mode])),
        "mode": mode,
    }
    checks = st.fixed_dictionaries(
        {},
        optional={
            "interval": st.none() | st.floats(1, 86_400) | st.integers(1, 86_400),
            "timeout": st.none() | st.floats(0.1, 300),
            **({"path": st.none() | st.just("/up?a=b")} if mode == "http" else {}),
        },
    )
    optional: dict[str, st.SearchStrategy[Any]] = {
        "version": TEXT,
        "metadata": st.dictionaries(TEXT, JSON, max_size=4),
        "weight": st.integers(0, 65_535),
        "ttl": st.none() | st.floats(1, 604_800) | st.integers(1, 604_800),
        "owner_key": st.none() | st.just("0123456789abcdef"),
        "instance": st.none() | NAME,
        "zone": st.none() | LABEL,
        "region": st.none() | LABEL,
        "priority": st.integers(0, 65_535),
        "health": st.none(),
    }
    if mode in ("http", "tcp", "grpc"):
        optional["health"] = st.none() | checks
    body |= draw(st.fixed_dictionaries({}, optional=optional))
    return body


@given(good_bodies(), st.booleans(), st.sampled_from([None, 1]))
def test_a_good_body_without_escapes_is_taken_and_read_the_same(
    body: dict[str, Any], compact: bool, indent: int | None
) -> None:
    separators = (",", ":") if compact else None
    text = json.dumps(body, ensure_ascii=False, separators=separators, indent=indent)
    quick = assert_agrees(text.encode())
    plain = "\\" not in text and "\x7f" not in text
    assert (quick is not None) == plain
    escaped = json.dumps(body).encode()
    assert slowly(escaped) == schema.parse_registration_request(escaped)


ODD: st.SearchStrategy[Any] = st.one_of(
    JSON,
    st.sampled_from(
        [True, 3.0, 65_536, -1, 10**30, "", "a\n", "\x7f", "\ud800", "ä", "a" * 300]
    ),
    st.sampled_from(["http", "tcp", "embedded", "smtp", "ftp://a", "tcp://10.0.0.1:1"]),
    st.sampled_from([{"path": "x"}, {"path": "/a"}, {"interval": 0}, {"x": 1}, {}]),
    st.lists(st.sampled_from(["a", "b c", "x/y", "", 7]), max_size=300),
)
FIELDS = st.sampled_from(
    [
        *registration(),
        *("weight", "ttl", "health", "owner_key", "zone", "region"),
        "priority",
        *("checks", "colour"),
    ]
)


@given(good_bodies(), st.dictionaries(FIELDS, ODD, min_size=1, max_size=3))
def test_an_odd_body_is_taken_only_if_parse_takes_it(
    body: dict[str, Any], changes: dict[str, Any]
) -> None:
    text = json.dumps(body | changes, ensure_ascii=False)
    assert_agrees(text.encode(errors="surrogatepass"))


@given(good_bodies(), st.integers(min_value=0), st.randoms(use_true_random=False))
def test_a_broken_body_is_taken_only_if_parse_takes_it(
    body: dict[str, Any], at: int, chance: random.Random
) -> None:
    raw = bytearray(json.dumps(body, ensure_ascii=False).encode())
    for _ in range(chance.randint(1, 3)):
        place = at % len(raw)
        raw[place : place + chance.randint(0, 2)] = chance.choice(
            [b'"', b":", b",", b"{", b"}", b"0", b"\\", b"\xff", b" ", b"\x00", b"e9"]
        )
        at = chance.randint(0, len(raw))
    assert_agrees(bytes(raw))


@given(st.binary())
@example(b"")
@example(b"[" * 100_000)
@example(b'{"metadata":{"a":' + b"9" * 5_000 + b"}}")
def test_any_bytes_are_read_the_same(body: bytes) -> None:
    assert_agrees(body)


@pytest.mark.parametrize(
    "twice",
    [
        '"id": "hello-service"',
        '"id" : "other"',
        '"weight": 1, "weight": 2',
        '"metadata": {"a": 1, "b": {"c": [{"d": 1, "d": 1}]}}',
        '"metadata": {"a" : "x", "a":":"}',
        '"health": {"interval": 5, "interval": 6}',
        '"ttl": 5, "ttl": 5',
    ],
)
def test_a_key_that_appears_twice_is_refused(twice: str) -> None:
    whole = json.dumps(registration(metadata=...))
    body = f"{whole[:-1]}, {twice}}}".encode()
    assert registration_decoder.decode(body) is None
    with pytest.raises(InvalidRequest, match="twice"):
        schema.parse_registration(body)


def test_metadata_that_is_too_large_is_left_to_parse() -> None:
    body = json.dumps(registration(metadata={"a": "x" * 16_384})).encode()
    assert registration_decoder.decode(body) is None
    assert registration_decoder.decode(body.replace(b"x" * 9, b"")) is not None
