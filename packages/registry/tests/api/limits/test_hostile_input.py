"""Input that is too much, unknown or unreadable has a short and clear answer."""

import json
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from modularity_registry import schema
from modularity_registry.api.query import MAX_PARAMETERS
from modularity_registry.errors import MOST_ERRORS, InvalidRequest
from modularity_registry.runtime import Registry
from support.registry import put_record, registration

SHORT = 40_000
"""Bytes of a reply that is short enough, whatever was sent."""


def refused(response: TestResponse, status: int = 400) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert len(response.data) < SHORT
    body: dict[str, Any] = json.loads(response.data)
    assert len(body["detail"]) < SHORT / 2
    return body


def names(count: int) -> str:
    return "&".join(f"a{number}" for number in range(count))


# Too much


@pytest.mark.parametrize("path", ["/api/whoami", "/api/services", "/api/graph"])
def test_a_query_has_a_bounded_number_of_parameters(
    client: FlaskClient, path: str
) -> None:
    body = refused(client.get(f"{path}?{names(14_000)}"))
    assert "14000 parameters" in body["detail"] and body["errors"] == []


def test_the_first_errors_are_told_and_the_others_counted(client: FlaskClient) -> None:
    body = refused(client.get(f"/api/services?{names(MAX_PARAMETERS)}"))
    assert len(body["errors"]) == MOST_ERRORS
    assert body["detail"].endswith(f"; and {MAX_PARAMETERS - MOST_ERRORS} more")


CALL = {"consumer_id": "a", "provider_id": "b", "capability": "c"}
UNKNOWN = {f"{'x' * 20}{number}": 1 for number in range(20_000)}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/register", registration() | UNKNOWN),
        ("/api/register", registration(health=UNKNOWN)),
        ("/api/register", registration(capabilities=[7] * 100_000)),
        ("/api/register", registration(id="y" * 900_000)),
        ("/api/register", registration(location=f"http://{'y' * 900_000}")),
        ("/api/register", registration(version="\x01" * 9_000)),
        ("/api/discover", {"capabilities": ["a"]} | UNKNOWN),
        ("/api/heartbeat/a", UNKNOWN),
        ("/api/track/invocation", CALL | UNKNOWN),
        ("/api/track/invocations", {"invocations": [CALL | {"z" * 700: 1}] * 1_000}),
        ("/api/track/invocations", {"invocations": [7] * 1_000}),
        ("/api/register", {"z" * 900_000: 1}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_body_of_nothing_but_errors_has_a_short_answer(
    client: FlaskClient, path: str, body: dict[str, Any]
) -> None:
    errors = refused(client.post(path, json=body))["errors"]
    assert 1 <= len(errors) <= MOST_ERRORS


# Unknown parameters


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api/register?ttl=30", registration()),
        ("PUT", "/api/services/a?ttl=30", registration("a")),
        ("DELETE", "/api/services/a?dry_run=true", None),
        ("DELETE", "/api/unregister/a?dry_run=true", None),
        ("PUT", "/api/services/a/drain?reason=x", None),
        ("DELETE", "/api/services/a/drain?x", None),
        ("POST", "/api/heartbeat/a?status=unhealthy", None),
        ("POST", "/api/services/a/heartbeat?x=1", None),
        ("POST", "/api/track/invocation?x", CALL),
        ("POST", "/api/track/invocations?x", {"invocations": [CALL]}),
    ],
)
def test_writes_refuse_parameters_that_they_do_not_know(
    client: FlaskClient, registry: Registry, method: str, path: str, body: Any
) -> None:
    client.put("/api/services/a", json=registration("a"))
    before = registry.catalog.revision
    detail = refused(client.open(path, method=method, json=body))["detail"]
    name = path.partition("?")[2].partition("=")[0]
    known = "instance" if "dry_run" in path else "none"
    assert detail == f"{name} is not a known parameter; known parameters: {known}"
    assert registry.catalog.revision == before


# Names that others would change


@pytest.mark.parametrize(
    "name", ["a/../b", "a/./b", "a//b", "a/", "/a", "a/..", "..", ".", "a/.", "./a"]
)
def test_a_capability_is_as_it_can_stand_in_a_path(
    client: FlaskClient, registry: Registry, name: str
) -> None:
    response = client.post("/api/register", json=registration(capabilities=[name]))
    [error] = refused(response)["errors"]
    assert error["field"] == "capabilities.0"
    refused(client.post("/api/discover", json={"capabilities": [name]}))
    assert len(registry.catalog) == 0


@pytest.mark.parametrize(
    "name", ["a/b", "a/.b", "a/..b", "a/...", "a/b.", "a/b..", "a.b/c..d/-", "a" * 128]
)
def test_dots_within_a_part_are_fine(client: FlaskClient, name: str) -> None:
    response = client.post("/api/register", json=registration(capabilities=[name]))
    assert response.status_code == 201
    assert client.get(f"/api/capabilities/{name}").status_code == 200


@pytest.mark.parametrize("service_id", [".", "..", ""])
def test_an_id_is_as_it_can_stand_in_a_path(
    client: FlaskClient, service_id: str
) -> None:
    refused(client.post("/api/register", json=registration(service_id)))


def test_what_an_earlier_version_stored_can_be_read_and_removed(
    client: FlaskClient, registry: Registry
) -> None:
    client.post("/api/register", json=registration("a", capabilities=["x/y/z"]))
    entry = registry.catalog.service("a")
    assert entry is not None
    odd = entry.document.replace(b"x/y/z", b"x/../z")
    put_record(registry.store, "services/a", odd)
    assert b"x/../z" in client.get("/api/services/a").data
    assert client.get("/api/capabilities/x/../z").status_code == 200
    assert client.delete("/api/services/a").status_code == 200


# Texts that nobody sees


@pytest.mark.parametrize(
    "text",
    [
        *(" ", "   ", "\u200b", "\u200b\u200d ", "\u202e", "\ufeff", "\u00a0"),
        *("\u3164", "\u0301", "\u2800", "\u2028", "\U000e0041"),
    ],
)
@pytest.mark.parametrize("field", ["name", "version", "location"])
def test_a_text_has_something_to_see(
    client: FlaskClient, field: str, text: str
) -> None:
    body = registration(mode="embedded", location="here") | {field: text}
    [error] = refused(client.post("/api/register", json=body))["errors"]
    assert error["field"] == field


@pytest.mark.parametrize(
    "name", ["é", "\U0001f600", " a", "\u0928\u092e", "\u200f\u05e9", "\u200da"]
)
def test_a_text_that_can_be_seen_may_have_invisible_parts(
    client: FlaskClient, name: str
) -> None:
    response = client.post("/api/register", json=registration(name=name))
    assert response.status_code == 201


# Unreadable


@pytest.mark.parametrize(
    "body",
    [
        b'{"id": ' + b"9" * 5_000 + b"}",
        b'{"id": -' + b"9" * 900_000 + b"}",
        b'{"id": 1e' + b"9" * 5_000 + b"}",
        b'{"' + b"k" * 9_000 + b'": 1, "' + b"k" * 9_000 + b'": 1}',
        b'{"a": ' + b"[" * 100_000,
        b'{"metadata": {"a": "\\ud800"}}',
    ],
    ids=["digits", "negative", "exponent", "twice", "deep", "surrogate"],
)
def test_what_cant_be_read_is_told_in_our_own_words(body: bytes) -> None:
    with pytest.raises(InvalidRequest) as caught:
        schema.parse_registration(body)
    assert len(caught.value.detail) < 2_000
    assert "set_int_max_str_digits" not in caught.value.detail


def test_a_number_of_many_digits_in_metadata_says_so(client: FlaskClient) -> None:
    body = json.dumps(registration(metadata={"n": 7})).replace("7}", "9" * 5_000 + "}")
    response = client.post("/api/register", data=body, content_type="application/json")
    assert "more than 1000 digits" in refused(response)["detail"]


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate, gzip", "x" * 2_000])
def test_a_compressed_body_is_a_415_that_names_the_coding(
    client: FlaskClient, coding: str
) -> None:
    response = client.post(
        "/api/register", json=registration(), headers={"Content-Encoding": coding}
    )
    body = refused(response, 415)
    assert coding[:20] in body["detail"]
    assert response.headers["Accept-Encoding"] == "identity"


def test_identity_is_no_compression(client: FlaskClient) -> None:
    response = client.post(
        "/api/register", json=registration(), headers={"Content-Encoding": "Identity"}
    )
    assert response.status_code == 201
