"""What a registration may say of its own checks."""

import json
from typing import Any

import msgspec
import pytest

from modularity_registry import schema
from modularity_registry.errors import InvalidRequest
from modularity_registry.model.checks import ServiceCheck
from modularity_registry.schema import registration_decoder
from modularity_registry.schema.check_models import Check
from modularity_registry.schema.check_rules import FIELDS
from support.registry import registration

WHOLE: dict[str, Any] = {
    "name": "db",
    "kind": "https",
    "critical": False,
    "port": 8443,
    "path": "/ready?deep=1",
    "method": "POST",
    "headers": {"Authorization": "Bearer s"},
    "body": '{"a": "ä"}',
    "expect": {
        "status": [200, "300-399"],
        "json": {"path": "db.status", "value": "up"},
    },
    "tls": {"verify": False, "server_name": "hello.example"},
    "interval": 10.0,
    "timeout": 2.0,
    "fall": 2,
    "rise": 3,
}


def parse(*checks: object, **changes: Any) -> tuple[ServiceCheck, ...]:
    body = registration(checks=list(checks), **changes)
    return schema.parse_registration(json.dumps(body).encode()).checks


def refusal(*checks: object, **changes: Any) -> dict[str, str]:
    with pytest.raises(InvalidRequest) as refused:
        parse(*checks, **changes)
    return {error.field: error.message for error in refused.value.errors}


def check(**changes: Any) -> dict[str, Any]:
    return {"name": "db", "kind": "http"} | changes


def test_a_check_is_stored_as_it_was_sent() -> None:
    [parsed] = parse(WHOLE)
    assert msgspec.json.decode(schema.encode(parsed)) == WHOLE
    assert parse(msgspec.json.decode(schema.encode(parsed))) == (parsed,)


def test_every_field_of_a_check_is_stored_and_allowed_for_a_kind() -> None:
    fields = set(ServiceCheck.__struct_fields__)
    assert set(Check.model_fields) == fields
    assert set().union(*FIELDS.values()) == fields - {"name", "kind", "critical"}


def test_without_checks_the_stored_document_is_as_before() -> None:
    body = json.dumps(registration()).encode()
    assert b"checks" not in schema.encode(schema.parse_registration(body))


def test_the_quick_decoder_leaves_checks_to_parse() -> None:
    body = json.dumps(registration(checks=[check()])).encode()
    assert registration_decoder.decode(body) is None


def test_replies_hide_what_may_be_secret() -> None:
    [parsed] = parse(WHOLE)
    shown = parsed.shown()
    assert (shown.headers, shown.body) == ({"Authorization": "(hidden)"}, "(hidden)")
    assert set(refusal(msgspec.json.decode(schema.encode(shown)))) == {
        "checks.0.headers",
        "checks.0.body",
    }


@pytest.mark.parametrize(
    ("changes", "field", "part"),
    [
        ({"name": "DB"}, "name", "1-64 of a-z 0-9 -"),
        ({"name": ...}, "name", "is required"),
        ({"kind": "ftp"}, "kind", "must be one of"),
        ({"kind": ...}, "kind", "is required"),
        ({"colour": "red"}, "colour", "is not a known field"),
        ({"host": "10.0.0.1"}, "host", "is not a known field"),
        ({"port": 0}, "port", "at least 1"),
        ({"path": "ready"}, "path", "must start with /"),
        ({"path": "/a/../b"}, "path", "no . or .."),
        ({"method": "DELETE"}, "method", "must be one of"),
        ({"headers": {"Host": "a"}}, "headers", "must not set Host"),
        ({"headers": {"content-LENGTH": "1"}}, "headers", "must not set"),
        ({"headers": {"Transfer-Encoding": "chunked"}}, "headers", "must not set"),
        ({"headers": {"Connection": "close"}}, "headers", "must not set"),
        ({"headers": {"X-A": "a\r\nX-B: b"}}, "headers", "printable ASCII"),
        ({"headers": {"X-A\r\nX-B": "b"}}, "headers", "names of 1-64"),
        ({"headers": {"X-A": "ä"}}, "headers", "printable ASCII"),
        ({"headers": {"X-A": "a" * 1025}}, "headers", "at most 1024"),
        ({"headers": {"X-A": 1}}, "headers", "printable ASCII"),
        ({"headers": {"X-A": "1", "x-a": "2"}}, "headers", "twice"),
        ({"headers": {f"X-{n}": "" for n in range(17)}}, "headers", "at most 16"),
        ({"headers": []}, "headers", "must be an object"),
        ({"body": "x"}, "body", "method 'POST' only"),
        ({"method": "POST", "body": "ä" * 2049}, "body", "at most 4096 bytes"),
        ({"expect": {"status": [700]}}, "expect.status", "codes from 200 to 599"),
        ({"expect": {"status": ["299-200"]}}, "expect.status", "codes from"),
        ({"expect": {"status": [True]}}, "expect.status", "codes from"),
        ({"expect": {"status": 200}}, "expect.status", "must be a list"),
        ({"expect": {"json": {"path": "a"}}}, "expect.json.value", "is required"),
        (
            {"expect": {"json": {"path": "a", "value": {}}}},
            "expect.json.value",
            "must be a text",
        ),
        (
            {"method": "HEAD", "expect": {"json": {"path": "a", "value": 1}}},
            "expect.json",
            "'HEAD' does not have",
        ),
        ({"tls": {}}, "tls", "kind 'https' and 'grpc'"),
        ({"kind": "tcp", "path": "/a"}, "path", "kind 'http' and 'https' only"),
        ({"kind": "tcp", "service": "a"}, "service", "kind 'grpc' only"),
        ({"kind": "grpc", "tls": {"verify": False}}, "tls.verify", "must be true"),
        ({"kind": "ttl"}, "ttl", "is required for kind 'ttl'"),
        ({"kind": "ttl", "ttl": 5, "port": 1}, "port", "only"),
        ({"ttl": 5}, "ttl", "kind 'ttl' only"),
        ({"kind": "module", "port": 1}, "port", "only"),
        ({"invoke": {"capability": "greet"}}, "invoke", "kind 'module' only"),
        ({"kind": "module", "invoke": {}}, "invoke.capability", "is required"),
        (
            {"kind": "module", "invoke": {"capability": "a", "params": []}},
            "invoke.params",
            "must be an object",
        ),
        ({"interval": 0.5}, "interval", "at least 1"),
        ({"timeout": 0}, "timeout", "at least 0.1"),
        ({"fall": 0}, "fall", "at least 1"),
        ({"rise": 1.5}, "rise", "whole number"),
    ],
)
def test_a_bad_field_is_named(changes: dict[str, Any], field: str, part: str) -> None:
    bad = {key: value for key, value in check(**changes).items() if value is not ...}
    errors = refusal(bad)
    assert [*errors] == [f"checks.0.{field}"]
    assert part in errors[f"checks.0.{field}"]


def test_a_name_is_used_once() -> None:
    assert refusal(check(), check(name="b"), check()) == {
        "checks.2.name": "is used twice"
    }


def test_there_are_at_most_16() -> None:
    assert len(parse(*(check(name=f"c{n}") for n in range(16)))) == 16
    errors = refusal(*(check(name=f"c{n}") for n in range(17)))
    assert errors == {"checks": "must have at most 16 entries"}


@pytest.mark.parametrize("checks", [None, {}, "x", [1], [None]])
def test_checks_are_a_list_of_objects(checks: object) -> None:
    body = json.dumps(registration(checks=checks)).encode()
    with pytest.raises(InvalidRequest):
        schema.parse_registration(body)


def test_a_module_check_is_stored_as_it_was_sent() -> None:
    invoke = {
        "capability": "greet",
        "params": {"name": "Ada", "deep": [1, {"a": None}]},
        "expect": {"path": "result.message", "value": "Hello, Ada!"},
    }
    sent = {"name": "works", "kind": "module", "invoke": invoke}
    [parsed] = parse(sent)
    assert msgspec.json.decode(schema.encode(parsed)) == sent
    assert parse(sent) == (parsed,)


def test_a_module_is_of_mode_http() -> None:
    module = check(kind="module")
    errors = refusal(module, mode="tcp", location="tcp://10.0.0.1:1")
    assert errors["checks.0.kind"] == "needs a service of mode 'http', not 'tcp'"


def test_a_service_without_a_host_has_nothing_to_connect_to() -> None:
    errors = refusal(check(), mode="embedded", location="here")
    assert "of mode 'embedded' the registry has no host" in errors["checks.0.kind"]
