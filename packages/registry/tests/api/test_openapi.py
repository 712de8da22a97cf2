"""The OpenAPI document says what the registry does."""

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin

import pytest
from flask import Flask
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import validate
from referencing import Registry as References
from referencing.jsonschema import DRAFT202012

from modularity_registry import __version__, errors
from modularity_registry.api import problems
from modularity_registry.api.app import create_app
from modularity_registry.api.openapi.document import document
from modularity_registry.api.openapi.errors import REFUSALS
from modularity_registry.runtime import Registry
from support import REPOSITORY

DOCUMENT = document()
SCHEMAS = DOCUMENT["components"]["schemas"]
METHODS = {"GET", "POST", "PUT", "DELETE"}
API_MD = REPOSITORY / "docs" / "api.md"
PLACEHOLDER = re.compile(r"<(?:\w+:)?(\w+)>")


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def wrong_with(instance: Any, schema: dict[str, Any]) -> list[str]:
    """Say what is wrong with a value; references are into the document."""
    resource = DRAFT202012.create_resource(DOCUMENT)
    checker = Draft202012Validator(
        {"$id": "urn:here", **absolute(schema)},
        registry=References().with_resource("urn:document", resource),
        format_checker=FormatChecker(),
    )
    return [each.message for each in checker.iter_errors(instance)]


def absolute(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: f"urn:document{each}" if key == "$ref" else absolute(each)
            for key, each in value.items()
        }
    return [absolute(each) for each in value] if isinstance(value, list) else value


def fields_of(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield from schema.get("properties", {}).items()


def test_the_document_is_valid_openapi() -> None:
    validate(DOCUMENT)
    assert DOCUMENT["openapi"].startswith("3.1.")


def test_the_document_is_served_with_its_version_and_a_tag(client: FlaskClient) -> None:
    response = client.get("/openapi.json")
    assert response.status_code == 200
    assert response.content_type == "application/json"
    assert json.loads(response.data) == DOCUMENT
    assert DOCUMENT["info"]["version"] == __version__
    again = client.get(
        "/openapi.json", headers={"If-None-Match": response.headers["ETag"]}
    )
    assert (again.status_code, again.data) == (304, b"")


def test_nothing_in_the_document_leads_elsewhere() -> None:
    assert [server["url"] for server in DOCUMENT["servers"]] == ["."]
    found = set(re.findall(r"https?://([^/\"\\ `:?#\[]+)", json.dumps(DOCUMENT)))
    assert found <= {"127.0.0.1"}


def test_every_route_is_described_and_nothing_else(registry: Registry) -> None:
    app: Flask = create_app(registry)
    routes = {
        (method, PLACEHOLDER.sub(r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) & METHODS
    }
    assert {(method, path) for method, path, _ in operations()} == routes


def test_the_calls_in_the_manual_are_the_calls_in_the_document() -> None:
    rows = re.findall(r"^\| `([A-Z]+) (\S+)` \|", API_MD.read_text(), re.MULTILINE)
    manual = {(method, re.sub(r"{\w+}", "{}", path)) for method, path in rows}
    described = {
        (method, re.sub(r"{\w+}", "{}", path)) for method, path, _ in operations()
    }
    assert manual == described


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [pytest.param(*each, id=f"{each[0]} {each[1]}") for each in operations()],
)
def test_every_call_is_described_in_full(
    method: str, path: str, operation: dict[str, Any]
) -> None:
    assert operation["summary"] and operation["operationId"]
    assert operation["tags"][0] in {tag["name"] for tag in DOCUMENT["tags"]}
    given = [resolved(each) for each in operation.get("parameters", [])]
    in_path = {each["name"] for each in given if each["in"] == "path"}
    assert in_path == set(re.findall(r"{(\w+)}", path))
    for each in given:
        assert each["description"]
        examples = each["schema"].get("examples") or [each["example"]]
        assert wrong_with(examples[0], each["schema"]) == []
    if "requestBody" in operation:
        check_content(operation["requestBody"]["content"])
    for status, reply in operation["responses"].items():
        assert reply["description"]
        assert ("content" in reply) == (status != "304")
        check_content(reply.get("content", {}))
        for header in reply.get("headers", {}).values():
            assert resolved(header)["description"]


def resolved(value: dict[str, Any]) -> dict[str, Any]:
    found: Any = value
    while "$ref" in found:
        path, found = found["$ref"], DOCUMENT
        for part in path.removeprefix("#/").split("/"):
            found = found[part]
    checked: dict[str, Any] = found
    return checked


def check_content(content: dict[str, Any]) -> None:
    for media in content.values():
        if "json" in str(content):
            examples = [each["value"] for each in media.get("examples", {}).values()]
            for example in examples or [media["example"]]:
                assert wrong_with(example, media["schema"]) == []


def test_calls_have_different_names() -> None:
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_schema_and_field_has_a_description_and_an_example(name: str) -> None:
    schema = SCHEMAS[name]
    described = [(name, schema), *fields_of(schema)]
    for field, rules in described:
        assert rules["description"], field
        assert rules["examples"], field
        for example in rules["examples"]:
            assert wrong_with(example, rules) == [], field


def test_every_error_that_can_be_answered_is_described() -> None:
    raised = {
        kind.code: int(problems.status_of(kind("x")))
        for kind in problems.STATUS
        if kind is not errors.StoreError
    }
    described = {code: int(each.status) for code, each in REFUSALS.items()}
    assert raised.items() <= described.items()
    manual = re.findall(r"^\| `(\w+)` \| (\d+) \|", API_MD.read_text(), re.MULTILINE)
    # A call with a method that it does not have is no call of the document.
    known = {code: int(status) for code, status in manual}
    assert known.pop("method_not_allowed") == 405
    assert described == known


def test_the_page_loads_only_what_is_served_here(client: FlaskClient) -> None:
    page = client.get("/docs")
    assert page.status_code == 200
    assert page.content_type == "text/html; charset=utf-8"
    html = page.get_data(as_text=True)
    loaded = re.findall(r'<(?:script|link)[^>]*(?:src|href)="([^"]+)"', html)
    assert "docs/swagger-ui-bundle.js" in loaded
    for path in (urljoin("/docs", relative) for relative in loaded):
        asset = client.get(path)
        assert asset.status_code == 200, path
        assert asset.headers["X-Content-Type-Options"] == "nosniff"
        again = client.get(path, headers={"If-None-Match": asset.headers["ETag"]})
        assert again.status_code == 304
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    # No script within the page: the policy would keep it from running.
    assert re.findall(r"<script(?![^>]*src=)", html) == []
    assert client.get("/docs/__init__.py").status_code == 404
