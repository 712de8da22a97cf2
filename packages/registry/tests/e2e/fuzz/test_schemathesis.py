"""Schemathesis asks everything that the OpenAPI document allows, and what it forbids.

All of its checks are on. A failure prints the request as a `curl` command; the seed is
fixed, so that a second run asks the same. `SCHEMATHESIS_SEED` asks something else,
`SCHEMATHESIS_EXAMPLES` asks more.
"""

import copy
import os
import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import unquote

import pytest
import schemathesis
from hypothesis import strategies as st
from schemathesis.config import SchemathesisConfig
from werkzeug.test import Client

from modularity_registry.api.app import create_app
from modularity_registry.api.openapi.document import document
from modularity_registry.api.query import cursor_after
from modularity_registry.model.service import CHECKED_MODES
from modularity_registry.schema.check_rules import FIELDS
from modularity_registry.schema.patterns import is_blank
from support.hot_path import HotPath
from support.registry import loaded_registry, registration, unload

SEED = int(os.environ.get("SCHEMATHESIS_SEED", "20261124"))
EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "30"))
"""So many requests are made up for each call, besides those at the limits."""

CONFIG = {
    "seed": SEED,
    "generation": {"max-examples": EXAMPLES, "database": "none"},
    "checks": {
        # Said and meant: no provider is healthy.
        "not_a_server_error": {"expected-statuses": ["2xx", "3xx", "4xx", "503"]},
        # A condition may fail, or an id belong to another, however well it is written.
        "positive_data_acceptance": {
            "expected-statuses": ["2xx", "3xx", "404", "409", "412", "503"]
        },
        # An id that belongs to another is refused before the rest is read.
        "negative_data_rejection": {
            "expected-statuses": ["400", "404", "405", "409", "415"]
        },
    },
}
SERVICE, CAPABILITY = "hello-service", "greet"
# What is there, by the name in the path and, where that is not enough, the path.
KNOWN = {
    "service_id": SERVICE,
    "name": CAPABILITY,
    "/docs/{name}": "page.css",
    "/assets/{name}": "main.js",
}

Case = schemathesis.Case[Any]

# What a schema has no words for.
schemathesis.openapi.format(
    "cursor", st.from_regex(r"\A[a-z0-9]{1,20}\Z").map(cursor_after)
)
AUTHORITY = re.compile("//[^/]*")


def closed(description: dict[str, Any]) -> dict[str, Any]:
    """The document with nothing in a reply but what it describes."""
    strict = copy.deepcopy(description)
    # It is relative to the document's address, which is not read from one here.
    strict["servers"] = [{"url": "/"}]
    for name, schema in strict["components"]["schemas"].items():
        if name not in ("Problem", "BadRequest") and "properties" in schema:
            schema.setdefault("additionalProperties", False)
    for methods in strict["paths"].values():
        for operation in methods.values():
            for reply in operation["responses"].values():
                for media in reply.get("content", {}).values():
                    if "allOf" in media["schema"]:  # two parts, none closed by itself
                        media["schema"]["unevaluatedProperties"] = False
    return strict


class Served:
    """The app of the registry that is there now: the tests are made before it is."""

    app: Any

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ["REMOTE_ADDR"] = "127.0.0.1"
        answer: Iterable[bytes] = self.app(environ, start_response)
        return answer


served = Served()
api = schemathesis.openapi.from_dict(
    closed(document()), config=SchemathesisConfig.from_dict(CONFIG)
)
api.app = served


@pytest.fixture(scope="module", autouse=True)
def _registry() -> Iterator[None]:
    registry = loaded_registry()
    # So all streams and waits end at once.
    registry.hub.stop()
    served.app = HotPath(registry, create_app(registry))
    yield
    unload(registry)


@api.parametrize()
def test_the_registry_keeps_to_its_document(case: Case) -> None:
    begin_anew()
    if case.meta is not None and case.meta.generation.mode.is_positive:
        ask_for_what_is_there(case)
        keep_rules_between_fields(case)
    case.call_and_validate()


def begin_anew() -> None:
    """Have one service and one call on record, whatever was asked before."""
    client = Client(served)
    client.post("/api/register", json=registration(SERVICE))
    call = {
        "consumer_id": "web-shop",
        "provider_id": SERVICE,
        "capability": CAPABILITY,
    }
    assert client.post("/api/track/invocation", json=call).status_code == 200


def ask_for_what_is_there(case: Case) -> None:
    """Make half of the names in addresses known ones: made up ones never are.

    Likewise drop half of the conditions, which hardly ever hold.
    """
    for name, made_up in case.path_parameters.items():
        if len(made_up) % 2:
            case.path_parameters[name] = KNOWN.get(case.path, KNOWN[name])
    if len(case.headers.get("If-Match", "")) % 2:
        del case.headers["If-Match"]
    body = fields(case)
    for invocation in (body, *body.get("invocations", [])):
        if len(invocation.get("provider_id", "")) % 2:
            invocation["provider_id"] = SERVICE
    if body.get("mode") in ("http", "tcp", "grpc"):
        body["location"] = AUTHORITY.sub("//127.0.0.1:9001", body["location"], 1)
    for name in ("priority", "weight"):
        # To JSON Schema, 1.0 is a whole number as 1 is; the registry takes only 1.
        number = body.get(name)
        if isinstance(number, float) and number.is_integer():
            body[name] = int(number)


def keep_rules_between_fields(case: Case) -> None:
    """Keep the rules between two fields, which the document says in words only."""
    query, body = case.query, fields(case)
    if ("wait" in query) != ("revision" in query):
        query.pop("wait", None)
        query.pop("revision", None)
    if ("key" in query) != (query.get("strategy") == "hash"):
        query.pop("key", None)
        query.pop("strategy", None)
    if case.operation.label == "PUT /api/services/{service_id}" and "id" in body:
        body["id"] = unquote(case.path_parameters["service_id"])
    if case.operation.label == "PUT /api/capabilities/{name}/split":
        # No two names of one version, as v1 and 1.
        for name in [name for name in body if f"v{name}" in body]:
            del body[name]
        if not any(body.values()):
            body["v1"] = 1
    for name in ("name", "version", "location"):
        if is_blank(body.get(name, "-")):
            body[name] = "Hello"
    if "metadata" in body:
        body["metadata"] = without_nul(body["metadata"])
    if isinstance(body.get("checks"), list):
        fitting = filter(None, (fitted(each, body) for each in body["checks"]))
        body["checks"] = list({each["name"]: each for each in fitting}.values())


def without_nul(value: Any) -> Any:
    """Return a JSON value without NUL, which no pattern forbids in names of fields."""
    if isinstance(value, dict):
        return {without_nul(name): without_nul(each) for name, each in value.items()}
    if isinstance(value, list):
        return [without_nul(each) for each in value]
    return value.replace("\0", "") if isinstance(value, str) else value


def fitted(check: dict[str, Any], body: dict[str, Any]) -> dict[str, Any] | None:
    """Return a check with the fields of its kind; None if its service can't have it."""
    kind, mode = check["kind"], body.get("mode")
    if kind != "ttl" and mode not in CHECKED_MODES:
        return None
    if kind == "module" and mode != "http":
        return None
    check = {
        name: value
        for name, value in check.items()
        if name in FIELDS[kind] | {"name", "kind", "critical"}
    }
    if kind == "ttl":
        check["ttl"] = check.get("ttl") or 60
    if check.get("method") != "POST":
        check.pop("body", None)
    if check.get("method") == "HEAD":
        check.pop("expect", None)
    if kind == "grpc" and check.get("tls"):
        check["tls"].pop("verify", None)
    return check


def fields(case: Case) -> dict[str, Any]:
    """The fields of the request's body, none where it is no object."""
    found: Any = case.body
    return found if isinstance(found, dict) else {}
