"""Values in checks, on both sides of each rule, and what goes with which kind."""

import json
from typing import Any

import msgspec
import pytest

from modularity_registry import schema
from modularity_registry.errors import InvalidRequest
from modularity_registry.model.checks import HIDDEN, Invoke, ServiceCheck, TlsOptions
from support.registry import registration


def errors(*checks: object, **changes: Any) -> dict[str, str]:
    body = registration(checks=list(checks), **changes)
    try:
        schema.parse_registration(json.dumps(body).encode())
    except InvalidRequest as refused:
        return {error.field: error.message for error in refused.errors}
    return {}


def parsed(**fields: Any) -> ServiceCheck:
    body = registration(checks=[{"name": "c", **fields}])
    [check] = schema.parse_registration(json.dumps(body).encode()).checks
    return check


def http(**fields: Any) -> dict[str, Any]:
    return {"name": "c", "kind": "http", **fields}


def module(**fields: Any) -> dict[str, Any]:
    invoke = {"capability": "greet", **fields}
    return {"name": "c", "kind": "module", "invoke": invoke}


def test_a_check_gets_its_defaults() -> None:
    assert parsed(kind="http") == ServiceCheck("c", "http")
    assert parsed(kind="https", tls={}).tls == TlsOptions()
    assert parsed(kind="module", invoke={"capability": "a"}).invoke == Invoke("a")


@pytest.mark.parametrize(
    ("code", "good"),
    [
        (200.0, True),
        (True, False),
        (None, False),
        ([], False),
        ("200", False),
        ("199-200", False),
        ("200-200", True),
        ("201-200", False),
        ("599-599", True),
        ("599-600", False),
        ("2000-299", False),
    ],
)
def test_a_good_answer_has_codes_and_ranges_from_200_to_599(
    code: object, good: bool
) -> None:
    refused = errors(http(expect={"status": [code]}))
    assert [*refused] == ([] if good else ["checks.0.expect.status"])


def test_a_range_is_kept_as_it_was_sent() -> None:
    expect = parsed(kind="http", expect={"status": ["200-299", 301]}).expect
    assert expect is not None and expect.status == ("200-299", 301)


@pytest.mark.parametrize(
    "value", [None, True, 1.5, -1, 2**53 - 1, 1 - 2**53, "a" * 1024]
)
def test_an_expected_value_comes_back_as_it_was_sent(value: object) -> None:
    expect = parsed(kind="http", expect={"json": {"path": "a", "value": value}}).expect
    assert expect is not None and expect.json is not None
    assert expect.json.value == value
    assert type(expect.json.value) is type(value)


@pytest.mark.parametrize("value", [2**53, -(2**53), "a" * 1025, [], {}])
def test_an_expected_value_is_one_that_every_reader_reads_alike(value: object) -> None:
    refused = errors(http(expect={"json": {"path": "a", "value": value}}))
    assert [*refused] == ["checks.0.expect.json.value"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("a" * 4096, ""),
        ("a" * 4097, "must be at most 4096 bytes, not 4097"),
        ("a\0", "must not contain the character NUL"),
        ("\ud800", "must not contain lone surrogates"),
        (HIDDEN, f"must be the real value, not {HIDDEN!r} from a reply"),
    ],
)
def test_a_body_is_text_that_can_be_sent(body: str, message: str) -> None:
    refused = errors(http(method="POST", body=body))
    assert refused.get("checks.0.body", "") == message
    assert len(refused) == bool(message)


@pytest.mark.parametrize(
    ("params", "part"),
    [
        ({"a": "x" * 4088}, ""),
        ({"a": "x" * 4089}, "at most 4096 bytes"),
        ({"a": "\0"}, "NUL"),
        ({"a": "\ud800"}, "no valid text"),
        ([], "must be an object"),
    ],
)
def test_parameters_are_an_object_that_can_be_sent(params: object, part: str) -> None:
    refused = errors(module(params=params))
    assert part in refused.get("checks.0.invoke.params", "")
    assert len(refused) == bool(part)


@pytest.mark.parametrize("depth", [500, 900, 960, 5_000])
def test_parameters_and_metadata_of_any_depth_are_taken_or_refused(depth: int) -> None:
    deep = msgspec.Raw(b'{"a":' * depth + b"1" + b"}" * depth)
    check = {"name": "c", "kind": "module", "invoke": {"capability": "a"}}
    check["invoke"]["params"] = deep  # type: ignore[index]  # an object
    for changes in ({"checks": [check]}, {"metadata": deep}):
        body = schema.encode(registration(**changes))
        try:
            schema.parse_registration(body)
        except InvalidRequest as refused:
            assert "nested too deeply" in refused.detail or "bytes" in refused.detail


@pytest.mark.parametrize(
    "check",
    [
        {"kind": "https", "tls": {"verify": False}, "headers": {"A": "b"}, "port": 1},
        {"kind": "grpc", "tls": {"verify": True}, "service": "a", "interval": 5},
        {"kind": "module", "headers": {"A": "b"}, "tls": {}, "timeout": 2},
        {"kind": "tcp", "expect": None, "tls": None},
        {"kind": "http", "method": "HEAD", "expect": {"status": [200]}},
        {"kind": "http", "method": "HEAD", "expect": {"json": None}},
        {"kind": "http", "expect": {"json": {"path": "a", "value": 1}}},
        {"kind": "http", "method": "POST"},
    ],
)
def test_a_field_goes_with_its_kind_and_null_with_every_kind(
    check: dict[str, Any],
) -> None:
    assert errors({"name": "c", **check}) == {}


def test_the_kinds_that_a_field_goes_with_are_named() -> None:
    assert errors({"name": "c", "kind": "tcp", "tls": {}, "method": "GET"}) == {
        "checks.0.tls": "is allowed for kind 'https' and 'grpc' and 'module' only",
        "checks.0.method": "is allowed for kind 'http' and 'https' only",
    }


def test_checks_of_any_kind_may_be_of_a_service_of_any_checked_mode() -> None:
    tcp = {"mode": "tcp", "location": "tcp://10.0.0.1:1"}
    assert errors(http(), **tcp) == {}
    assert [*errors(module(), **tcp)] == ["checks.0.kind"]
    assert errors(module()) == {}


def test_a_service_without_a_host_may_report_by_itself() -> None:
    report = {"name": "c", "kind": "ttl", "ttl": 5}
    assert errors(report, mode="embedded", location="here") == {}


def test_of_an_unknown_mode_only_the_mode_is_wrong() -> None:
    assert [*errors(http(), module() | {"name": "d"}, mode="smoke")] == ["mode"]
    assert [*errors(http(), mode=7)] == ["mode"]


def test_what_is_no_check_hides_no_fault_of_the_next_one() -> None:
    refused = errors(7, {"name": "d", "kind": "tcp", "path": "/a"})
    assert [*refused] == ["checks.0", "checks.1.path"]


@pytest.mark.parametrize("value", [7, None, [], {}])
def test_a_name_or_kind_of_another_type_is_named(value: object) -> None:
    assert [*errors(http(name=value))] == ["checks.0.name"]
    assert [*errors(http(kind=value))] == ["checks.0.kind"]
