"""Spans of what Flask answers reach a collector, and never get in the way."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
)
from werkzeug.test import Client

from modularity_registry import config
from modularity_registry.api import request_context, tracing
from modularity_registry.api.app import create_app
from modularity_registry.errors import BadSetting
from modularity_registry.runtime import Registry
from modularity_registry.serve import factory
from support import PROGRAMS
from support.hot_path import HotPath
from support.registry import eventually, registration
from support.serving import HOST, free_port, in_thread
from support.telemetry import require_otlp

require_otlp()

APP = PROGRAMS / "registry.py"
TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
KEPT = f"00-{TRACE}-{SPAN}-01"


class Collector(ThreadingHTTPServer):
    """Takes OTLP over HTTP, and keeps the spans."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__((HOST, 0), Handler)
        self.paths: list[str] = []
        self.resources: list[dict[str, str]] = []
        self.spans: list[Any] = []

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_address[1]}"

    def take(self, path: str, body: bytes) -> None:
        self.paths.append(path)
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.resources.append(
                {
                    each.key: each.value.string_value
                    for each in group.resource.attributes
                }
            )
            for scope in group.scope_spans:
                self.spans += scope.spans


class Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        self.server.take(self.path, self.rfile.read(length))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None: ...


@pytest.fixture
def collector() -> Iterator[Collector]:
    server = Collector()
    with in_thread(server):
        yield server


@contextmanager
def traced(registry: Registry, endpoint: str) -> Iterator[Client]:
    app = create_app(registry)
    spans = tracing.Tracing(endpoint, "replica-1")
    spans.install(app)
    yield Client(HotPath(registry, app, spans))
    spans.stop()


def shown(span: Any) -> dict[str, Any]:
    return {
        each.key: each.value.string_value or each.value.int_value
        for each in span.attributes
    }


def test_a_request_is_a_span_with_route_status_and_id(
    registry: Registry, collector: Collector
) -> None:
    with traced(registry, collector.url) as client:
        client.post("/api/register", json=registration(mode="standalone"))
        client.get(
            "/api/services/nobody",
            headers={"X-Request-ID": "mine"},
            environ_base={"REMOTE_ADDR": "10.0.0.9"},
        )
    (span,) = collector.spans
    assert span.name == "GET /api/services/<service_id>"
    assert shown(span) == {
        "http.request.method": "GET",
        "url.path": "/api/services/nobody",
        "http.route": "/api/services/<service_id>",
        "http.response.status_code": 404,
        "client.address": "10.0.0.9",
        "registry.request_id": "mine",
    }
    assert span.end_time_unix_nano > span.start_time_unix_nano
    assert span.parent_span_id == b""
    assert collector.paths == ["/v1/traces"]
    (resource,) = collector.resources
    assert resource["service.name"] == "modularity-registry"
    assert resource["service.instance.id"] == "replica-1"


def test_the_callers_span_is_the_parent_and_its_call_is_never_too_hot(
    registry: Registry, collector: Collector
) -> None:
    with traced(registry, collector.url) as client:
        client.post("/api/register", json=registration(mode="standalone"))
        for flags in ("00", "01"):
            reply = client.get(
                "/api/capabilities/greet",
                headers={"Traceparent": f"00-{TRACE}-{SPAN}-{flags}"},
            )
            assert reply.status_code == 200
    (span,) = collector.spans
    assert span.name == "GET /api/capabilities/<path:name>"
    assert span.trace_id.hex() == TRACE
    assert span.parent_span_id.hex() == SPAN


def test_a_collector_that_is_away_costs_no_call_and_no_long_end(
    registry: Registry,
) -> None:
    with traced(registry, f"http://{HOST}:{free_port()}") as client:
        for _ in range(600):
            assert client.get("/api/services").status_code == 200
        ended = time.monotonic()
    assert time.monotonic() - ended < tracing.SHUTDOWN_SECONDS + 2


def test_a_real_registry_sends_them_from_the_process_that_serves(
    collector: Collector,
) -> None:
    port = free_port()
    given = json.dumps({"port": port, "otel_endpoint": collector.url})
    process = subprocess.Popen([sys.executable, str(APP), given])
    url = f"http://{HOST}:{port}/ready"

    def answers() -> bool:
        try:
            return requests.get(url, timeout=10).status_code == 200
        except OSError:
            return False

    try:
        eventually(answers)
        process.terminate()
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
    assert {span.name for span in collector.spans} == {"GET /ready"}


def test_without_the_extra_the_start_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def find(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr("importlib.util.find_spec", find)
    settings = config.Settings(otel_endpoint="http://127.0.0.1:4318")
    with pytest.raises(BadSetting, match=r"modularity-registry\[otel\]"):
        factory(settings)


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("http://c:4318", "http://c:4318/v1/traces"),
        ("http://c:4318/", "http://c:4318/v1/traces"),
        ("https://c/otlp/traces", "https://c/otlp/traces"),
    ],
)
def test_the_path_of_otlp_is_added_where_there_is_none(given: str, sent: str) -> None:
    assert tracing._traces(given) == sent


@pytest.mark.parametrize("given", ["", "c:4318", "ftp://c", "http://", "http://c?x=1"])
def test_an_endpoint_that_is_none_is_refused(given: str) -> None:
    with pytest.raises(BadSetting, match="collector, such as http://127"):
        config.load({"otel_endpoint": given}, {})


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (KEPT, (TRACE, True)),
        (KEPT[:-2] + "00", (TRACE, False)),
        (KEPT[:-2] + "03", (TRACE, True)),
        ("01" + KEPT[2:] + "-more", (TRACE, True)),
        (KEPT + "-more", (None, False)),
        ("01" + KEPT[2:] + "more", (None, False)),
        ("ff" + KEPT[2:], (None, False)),
        (f"00-{'0' * 32}-{SPAN}-01", (None, False)),
        (f"00-{TRACE}-{'0' * 16}-01", (None, False)),
        (KEPT.upper(), (None, False)),
        ("", (None, False)),
        ("junk", (None, False)),
    ],
)
def test_traceparents(given: str, found: tuple[str | None, bool]) -> None:
    assert request_context.trace({request_context.TRACEPARENT: given}) == found
    assert request_context.trace({}) == (None, False)
