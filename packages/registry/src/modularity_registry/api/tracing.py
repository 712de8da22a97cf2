"""OpenTelemetry spans of the requests that Flask answers, exported in the background.

The hot path makes no spans. A call whose ``traceparent`` is sampled goes to Flask
instead, with the same reply.
"""

import importlib
import importlib.util
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from flask import Flask, Response, request

from modularity_registry import __version__
from modularity_registry.api import request_context
from modularity_registry.api.namespaces import NAMESPACE, apps_of
from modularity_registry.errors import BadSetting

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from opentelemetry.trace import Span

EXTRA = (
    "opentelemetry.sdk.trace",
    "opentelemetry.exporter.otlp.proto.http",
)
MESSAGES = "opentelemetry.proto.common.v1.common_pb2"
"""Messages of OpenTelemetry. The package `xds-protos` brings older ones, in the same
files: whichever is installed last is there."""

EXPORT_SECONDS = 5.0
"""Seconds to retry the export of spans before they are dropped."""

SHUTDOWN_SECONDS = 0.5
"""Seconds that a stopping process waits for the last spans."""

_SPAN = "modularity_registry.span"
_NAMESPACE = "registry.namespace"


def require() -> None:
    """Raise `BadSetting` where the extra ``otel`` is not installed."""
    try:
        missing = [name for name in EXTRA if importlib.util.find_spec(name) is None]
    except ModuleNotFoundError:
        missing = [*EXTRA]
    if missing:
        raise BadSetting(
            "--otel-endpoint needs OpenTelemetry; install it with"
            " pip install 'modularity-registry[otel]'"
        )
    messages: Any = importlib.import_module(MESSAGES)
    if not hasattr(messages, "InstrumentationScope"):
        raise BadSetting(
            "--otel-endpoint needs files of opentelemetry-proto that the package"
            " xds-protos has overwritten; restore them with pip install"
            " --force-reinstall --no-deps opentelemetry-proto"
        )


class Tracing:
    """Starts spans and exports them. Create it after the fork: it has a thread.

    ``endpoint`` is the collector's address for OTLP over HTTP; without a path,
    ``/v1/traces`` is added.
    """

    def __init__(self, endpoint: str, replica: str) -> None:
        # Imported late: without --otel-endpoint it need not be there.
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        self._provider = TracerProvider(
            resource=Resource.create(
                {
                    "service.name": "modularity-registry",
                    "service.version": __version__,
                    "service.instance.id": replica,
                }
            ),
            shutdown_on_exit=False,
        )
        exporter = OTLPSpanExporter(_traces(endpoint), timeout=EXPORT_SECONDS)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("modularity_registry", __version__)

    def install(self, app: Flask) -> None:
        """Make a span for every request that ``app`` answers from now on.

        Those in other namespaces as well.
        """
        for one in apps_of(app).values():
            self._name_spans(one)
        app.wsgi_app = _Traced(app.wsgi_app, self.begin)  # type: ignore[method-assign]

    def _name_spans(self, app: Flask) -> None:
        @app.after_request
        def name(response: Response) -> Response:
            span, rule = request.environ.get(_SPAN), request.url_rule
            if span is not None and rule is not None:
                span.update_name(f"{request.method} {rule.rule}")
                span.set_attribute("http.route", rule.rule)
            if span is not None and NAMESPACE in request.environ:
                span.set_attribute(_NAMESPACE, request.environ[NAMESPACE])
            return response

    def begin(self, environ: "WSGIEnvironment") -> "Span":
        """Return a span of the request, a child of the caller's if there is one."""
        from opentelemetry.context import Context
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import (
            TraceContextTextMapPropagator,
        )

        carried = {
            "traceparent": environ.get(request_context.TRACEPARENT, ""),
            "tracestate": environ.get("HTTP_TRACESTATE", ""),
        }
        return self._tracer.start_span(
            environ["REQUEST_METHOD"],
            TraceContextTextMapPropagator().extract(carried, Context()),
            SpanKind.SERVER,
            {
                "http.request.method": environ["REQUEST_METHOD"],
                "url.path": request_context.path(environ),
                "client.address": environ.get("REMOTE_ADDR", ""),
                "registry.request_id": request_context.request_id(environ),
            },
        )

    def record(self, environ: "WSGIEnvironment", rule: str, status: int) -> None:
        """Make a span of a request that is answered in front of Flask."""
        span = self.begin(environ)
        span.update_name(f"{environ['REQUEST_METHOD']} {rule}")
        span.set_attribute("http.route", rule)
        if NAMESPACE in environ:
            span.set_attribute(_NAMESPACE, environ[NAMESPACE])
        _conclude(span, status)
        span.end()

    def stop(self) -> None:
        """Export what is left, for at most `SHUTDOWN_SECONDS`."""
        # In a thread: a collector that hangs would delay the end for longer.
        last = threading.Thread(target=self._provider.shutdown, daemon=True)
        last.start()
        last.join(SHUTDOWN_SECONDS)


class _Traced:
    """WSGI around Flask's; the span of a stream ends when its headers are sent."""

    def __init__(
        self,
        application: "WSGIApplication",
        begin: "Callable[[WSGIEnvironment], Span]",
    ) -> None:
        self._application = application
        self._begin = begin

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        span = self._begin(environ)
        environ[_SPAN] = span

        def start(
            status: str, headers: list[tuple[str, str]], exc_info: Any = None
        ) -> Callable[[bytes], object]:
            _conclude(span, int(status[:3]))
            return start_response(status, headers, exc_info)

        if request_context.trace(environ)[0] is None:
            # The request is now part of this span's trace, and the log says so.
            context = span.get_span_context()
            environ[request_context.TRACEPARENT] = (
                f"00-{context.trace_id:032x}-{context.span_id:016x}-01"
            )
        try:
            return self._application(environ, start)
        finally:
            span.end()


def _conclude(span: "Span", status: int) -> None:
    from opentelemetry.trace import StatusCode

    span.set_attribute("http.response.status_code", status)
    if status >= 500:
        span.set_status(StatusCode.ERROR)


def _traces(endpoint: str) -> str:
    parts = urlsplit(endpoint)
    if parts.path in ("", "/"):
        parts = parts._replace(path="/v1/traces")
    return urlunsplit(parts)
