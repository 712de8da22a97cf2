"""Bodies from outside: what is taken, and that every bad field is named."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modularity_registry import schema
from modularity_registry.errors import InvalidRequest
from modularity_registry.model.service import CheckPlan
from modularity_registry.model.status import check_plan
from support.registry import registration


def refused(body: bytes | dict[str, Any]) -> InvalidRequest:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(InvalidRequest) as caught:
        schema.parse_registration(raw)
    return caught.value


def test_a_registration_gets_its_defaults() -> None:
    body = registration(version=..., metadata=...)
    parsed = schema.parse_registration(json.dumps(body).encode())
    assert (parsed.version, bytes(parsed.metadata)) == ("1.0.0", b"{}")
    assert (parsed.weight, parsed.ttl, parsed.health) == (1, None, None)


def test_every_bad_field_is_named_at_once() -> None:
    error = refused(
        {
            "id": "-bad",
            "capabilities": ["ok", 7, "b c"],
            "location": "ftp://10.0.0.1",
            "mode": "http",
            "metadata": [],
            "weight": True,
            "ttl": 0,
            "health": {"interval": "x", "colour": 1},
            "colour": "red",
        }
    )
    assert {each.field for each in error.errors} == {
        "id", "name", "capabilities.1", "capabilities.2", "location", "metadata",
        "weight", "ttl", "health.interval", "health.colour", "colour",
    }  # fmt: skip
    assert all(f"{each.field} {each.message}" in error.detail for each in error.errors)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[]", "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b"\xff", "not UTF-8"),
        (b'{"id": NaN}', "NaN"),
        (b'{"id": Infinity}', "Infinity"),
        (b'{"id": 1e999}', "too large"),
        (b'{"id": "a", "id": "b"}', "twice"),
        (b'{"metadata": {"a": 1, "a": 2}}', "twice"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": ' + b"9" * 5_000 + b"}", "not JSON"),
    ],
)
def test_what_is_not_strict_json_is_refused(body: bytes, said: str) -> None:
    assert said in refused(body).detail


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", ""),
        ("id", "a" * 129),
        ("id", "a/b"),
        ("id", "ä"),
        ("id", "a\n"),
        ("id", None),
        ("name", ""),
        ("name", "n" * 257),
        ("name", "a\x00b"),
        ("name", "\ud800"),
        ("version", 1),
        ("capabilities", "greet"),
        ("capabilities", ["c" * 129]),
        ("capabilities", ["/a"]),
        ("capabilities", [f"c{n}" for n in range(257)]),
        ("location", ""),
        ("location", "http://10.0.0.1/" + "x" * 2048),
        ("mode", "smoke"),
        ("mode", "HTTP"),
        ("metadata", {"a": "x" * 16_384}),
        ("metadata", {"a": "\ud800"}),
        ("weight", -1),
        ("weight", 1.5),
        ("weight", 65_536),
        ("ttl", "10"),
        ("ttl", -1),
        ("health", []),
        ("health", {"path": "no-slash"}),
        ("health", {"path": "/a#b"}),
        ("health", {"path": "/a b"}),
        ("health", {"interval": 0.5}),
        ("health", {"timeout": 0}),
    ],
)
def test_a_bad_value_names_its_field(field: str, value: Any) -> None:
    error = refused(registration(**{field: value}))
    assert {each.field.split(".")[0] for each in error.errors} == {field}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", "a"),
        ("id", "0" * 128),
        ("id", "A.b_c:d-e"),
        ("name", "日本 🙂 <b>"),
        ("capabilities", []),
        ("capabilities", ["weather/current", "a" * 128]),
        ("capabilities", [f"c{n}" for n in range(256)]),
        ("metadata", {"deep": {"er": [1, 2.5, None, True, 2**70]}}),
        ("weight", 0),
        ("weight", 3.0),
        ("ttl", 1),
        ("ttl", 2.5),
        ("health", {"path": "/healthz?full=1", "interval": 5, "timeout": 0.5}),
    ],
)
def test_a_good_value_is_taken(field: str, value: Any) -> None:
    body = registration(**{field: value})
    parsed = schema.parse_registration(json.dumps(body).encode())
    if field == "metadata":
        assert json.loads(bytes(parsed.metadata)) == value
    elif field == "capabilities":
        assert parsed.capabilities == tuple(value)


def test_capabilities_named_twice_count_once() -> None:
    body = json.dumps(registration(capabilities=["a", "b", "a"])).encode()
    assert schema.parse_registration(body).capabilities == ("a", "b")


def test_an_unchecked_mode_takes_any_location_but_no_check() -> None:
    body = registration(mode="embedded", location="module://here")
    assert (
        schema.parse_registration(json.dumps(body).encode()).location == "module://here"
    )
    error = refused({**body, "health": {"interval": 5}})
    assert [each.field for each in error.errors] == ["health"]


@pytest.mark.parametrize(
    "metadata", [{"a": "\0"}, {"\0": 1}, {"a": [{"b": "x\0y"}]}, {"a": "\\\0"}]
)
def test_metadata_has_no_nul(metadata: dict[str, Any]) -> None:
    error = refused(registration(metadata=metadata))
    assert [each.field for each in error.errors] == ["metadata"]
    assert "NUL" in error.errors[0].message


def test_a_backslash_before_zeros_is_no_nul() -> None:
    metadata = {"a": "\\u0000", "b": "\\\\u0000"}
    body = json.dumps(registration(metadata=metadata)).encode()
    assert json.loads(bytes(schema.parse_registration(body).metadata)) == metadata


def test_only_http_checks_have_a_path() -> None:
    error = refused(
        registration(mode="tcp", location="tcp://10.0.0.1:5", health={"path": "/x"})
    )
    assert [each.field for each in error.errors] == ["health.path"]


def test_the_address_gives_the_id_and_the_body_must_agree() -> None:
    body = json.dumps(registration(id=...)).encode()
    assert schema.parse_registration(body, "from-url").id == "from-url"
    other = json.dumps(registration("other")).encode()
    with pytest.raises(InvalidRequest, match="in the path"):
        schema.parse_registration(other, "from-url")


def test_a_heartbeat_needs_no_body_and_knows_the_old_words() -> None:
    assert schema.parse_heartbeat(b"").status == "healthy"
    assert schema.parse_heartbeat(b"{}").status == "healthy"
    assert schema.parse_heartbeat(b'{"status": "active"}').status == "healthy"
    assert schema.parse_heartbeat(b'{"status": "warning"}').status == "warning"
    sick = schema.parse_heartbeat(b'{"status": "unhealthy", "note": "disk full"}')
    assert (sick.status, sick.note) == ("unhealthy", "disk full")
    with pytest.raises(InvalidRequest):
        schema.parse_heartbeat(b'{"status": "fine"}')


def test_a_discovery_counts_no_capability_twice() -> None:
    asked = schema.parse_discovery(
        b'{"capabilities": ["a", "a"], "optional": ["a", "b"]}'
    )
    assert (asked.required, asked.optional) == (("a",), ("b",))
    assert schema.parse_discovery(b"{}") == schema.parse_discovery(
        b'{"capabilities": [], "optional": []}'
    )
    with pytest.raises(InvalidRequest):
        schema.parse_discovery(b'{"capabilities": ["a"], "x": 1}')


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
FIELDS = st.sampled_from([*registration(), "weight", "ttl", "health", "other"])


@given(st.dictionaries(FIELDS, JSON))
def test_nothing_but_the_documented_error_comes_out(changes: dict[str, Any]) -> None:
    body = json.dumps(registration(**changes)).encode()
    try:
        schema.parse_registration(body)
    except InvalidRequest as error:
        assert error.detail


@given(st.binary())
def test_any_bytes_are_taken_or_refused(body: bytes) -> None:
    for parse in (schema.parse_drain, schema.parse_heartbeat, schema.parse_discovery):
        try:
            parse(body)
        except InvalidRequest:
            continue


@pytest.mark.parametrize("count", [8, 9])
def test_a_pattern_has_few_wildcards(count: int) -> None:
    body = {"name": "a", "rights": ["read"], "ids": ["a*" * count]}
    if count == 8:
        assert schema.parse_token(json.dumps(body).encode()).ids == ("a*" * 8,)
        return
    with pytest.raises(InvalidRequest, match=r"ids\.0 must have at most 8 times \*"):
        schema.parse_token(json.dumps(body).encode())


def test_a_service_may_do_without_the_check_of_its_mode() -> None:
    body = registration(health={"enabled": False})
    parsed = schema.parse_registration(json.dumps(body).encode())

    usual = msgspec.structs.replace(parsed, health=None)

    assert check_plan(parsed, CheckPlan(10, 2)) is None
    assert check_plan(usual, CheckPlan(10, 2)) is not None
