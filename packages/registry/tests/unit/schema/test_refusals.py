"""What a refusal says, word by word, and what becomes of the fields of a good body."""

import json
from datetime import timedelta
from typing import Any

import pytest

from modularity_registry import schema
from modularity_registry.errors import MOST_ERRORS, InvalidRequest
from modularity_registry.model.rights import Right, TokenRequest
from modularity_registry.model.service import HealthCheck
from modularity_registry.schema import registration_decoder
from modularity_registry.schema.parse import CheckReport, Heartbeat, Invocation
from modularity_registry.schema.strict_json import MOST_DIGITS
from support.registry import registration


def raw(**changes: Any) -> bytes:
    return json.dumps(registration(**changes)).encode()


def detail(body: bytes) -> str:
    with pytest.raises(InvalidRequest) as refused:
        schema.parse_registration(body)
    return refused.value.detail


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"id": ...}, "id is required"),
        ({"name": ""}, "name must not be empty"),
        ({"name": "\u3164 \u200b"}, "name must have a character that can be seen"),
        ({"version": "\u2800"}, "version must have a character that can be seen"),
        ({"owner_key": "short"}, "owner_key must have at least 16 characters"),
        (
            {"zone": "-"},
            "zone must be 1-63 of A-Z a-z 0-9 . _ - and start with a letter or digit",
        ),
        ({"metadata": []}, "metadata must be an object"),
        ({"metadata": {"a": "\ud800"}}, "metadata must not contain lone surrogates"),
        (
            {"mode": "tcp"},
            "location must start with tcp:// for mode 'tcp', as in"
            " tcp://10.0.0.5:5432",
        ),
        (
            {"mode": "ipc", "location": "/run/a", "health": {}},
            "health must be left out: the registry does not check mode 'ipc'",
        ),
    ],
)
def test_a_refusal_says_this_and_no_more(changes: dict[str, Any], said: str) -> None:
    assert detail(raw(**changes)) == said


@pytest.mark.parametrize("field", ["name", "version", "location"])
@pytest.mark.parametrize("text", [" ", "  ", "\u200b ", "\u3164"])
def test_a_text_of_which_nothing_can_be_seen_is_refused(field: str, text: str) -> None:
    body = registration(**{"mode": "ipc", field: text})
    said = json.dumps(body, ensure_ascii=False).encode()
    assert detail(said) == f"{field} must have a character that can be seen"


def test_faults_that_are_not_named_are_counted() -> None:
    bad: list[object] = [7] * (MOST_ERRORS + 5)
    assert detail(raw(capabilities=bad)).endswith("; and 5 more")
    assert "more" not in detail(raw(capabilities=bad[:MOST_ERRORS]))


def test_the_key_that_appears_twice_is_named() -> None:
    assert "the key 'b' appears twice" in detail(b'{"a": 1, "b": 2, "b": 3}')


def test_a_whole_number_has_so_many_digits_and_no_more() -> None:
    assert schema.decode_object(b'{"a": %b}' % (b"9" * MOST_DIGITS))
    with pytest.raises(InvalidRequest, match=f"more than {MOST_DIGITS} digits"):
        schema.decode_object(b'{"a": %b}' % (b"9" * (MOST_DIGITS + 1)))


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        ({"-": 1}, "- must be 1-64 of"),
        ({"v1": 0, "v2": 0}, "the body must give one group"),
        ({"1.0": 1, "v1.0": 1}, "names the same version twice, as 1.0 and v1.0"),
        ({"v1": True}, "v1 must be a whole number"),
        ({"v1": "1"}, "v1 must be a whole number"),
    ],
)
def test_a_refused_split_names_the_group_or_the_body(
    groups: dict[str, object], said: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        schema.parse_split(json.dumps(groups).encode(), "greet")
    assert said in refused.value.detail


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a" * 128, None),
        ("a" * 129, "name must have at most 128 characters"),
        ("a/../b", "name must be of"),
        ("a\n", "name must be of"),
    ],
)
def test_a_split_is_of_a_capability_that_can_be_registered(
    name: str, said: str | None
) -> None:
    try:
        assert schema.parse_split(b'{"v1": 1.0}', name) == {"v1": 1}
    except InvalidRequest as refused:
        assert said is not None and refused.detail.startswith(said)
    else:
        assert said is None


def test_metadata_may_be_so_many_bytes_and_no_more() -> None:
    for size, good in ((16 * 1024, True), (16 * 1024 + 1, False)):
        body = raw(metadata={"a": "x" * (size - len('{"a":""}'))})
        assert (registration_decoder.decode(body) is not None) == good
        if good:
            parsed = schema.parse_registration(body, "hello-service")
            assert len(bytes(parsed.metadata)) == size
        else:
            said = "metadata must be at most 16384 bytes as JSON, not 16385"
            assert detail(body) == said


@pytest.mark.parametrize("service_id", [None, "hello-service"])
def test_every_field_of_a_registration_arrives(service_id: str | None) -> None:
    fields = {
        "weight": 5,
        "ttl": 30,
        "zone": "z",
        "region": "r",
        "priority": 7,
        "health": {"path": "/up", "interval": 5, "timeout": 0.5},
        "owner_key": "k" * 16,
        "instance": "i",
    }
    asked = schema.parse_registration_request(raw(**fields), service_id)
    got = asked.registration
    assert (got.weight, got.ttl, got.priority) == (5, 30, 7)
    assert (got.zone, got.region) == ("z", "r")
    assert got.health == HealthCheck("/up", 5, 0.5)
    assert (asked.owner_key, asked.instance) == ("k" * 16, "i")


@pytest.mark.parametrize("service_id", [None, "hello-service"])
def test_what_is_left_out_has_its_default(service_id: str | None) -> None:
    body = raw(version=..., metadata=...)
    asked = schema.parse_registration_request(body, service_id)
    got = asked.registration
    assert (got.weight, got.ttl, got.priority) == (1, None, 0)
    assert (got.zone, got.region) == ("", "")
    assert (got.version, got.health, bytes(got.metadata)) == ("1.0.0", None, b"{}")
    assert (asked.owner_key, asked.instance) == (None, None)


def test_reports_and_calls_arrive_with_their_defaults() -> None:
    assert schema.parse_heartbeat(b" \n") == Heartbeat("healthy", "", None)
    assert schema.parse_heartbeat(b'{"instance": "i"}').instance == "i"
    assert schema.parse_check_report(b"") == CheckReport("healthy", "")
    call = {"consumer_id": "c", "provider_id": "p", "capability": "x"}
    body = json.dumps(call).encode()
    expected = Invocation("c", "p", "x", True, None)
    assert schema.parse_invocation(body) == expected
    assert schema.parse_invocations(b'{"invocations": [%b]}' % body) == [expected]
    assert schema.parse_rotation(b"") == 0
    assert schema.parse_rotation(b'{"grace": 5}') == 5


def test_a_token_lives_for_so_many_seconds_or_for_ever() -> None:
    body: dict[str, object] = {"name": "t", "rights": ["read"]}
    expected = TokenRequest("t", frozenset([Right.READ]), ("*",), ("*",), None)
    assert schema.parse_token(json.dumps(body).encode()) == expected
    body["expires_in"] = 60
    lifetime = schema.parse_token(json.dumps(body).encode()).lifetime
    assert lifetime == timedelta(seconds=60)
