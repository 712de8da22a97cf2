"""Times the requests that Flask answers; the hot path times its own."""

from time import perf_counter

from flask import Flask, Response, g, request

from modularity_registry.api.route_policy import template
from modularity_registry.telemetry.counters import Metrics

OTHER = "other"
"""The route of requests that no route is for: their paths may be anything."""


def install(app: Flask, metrics: Metrics) -> None:
    """Time every request of ``app`` up to the head of its reply."""

    @app.before_request
    def begin() -> None:
        g.began = perf_counter()

    @app.after_request
    def end(response: Response) -> Response:
        rule = request.url_rule
        route = (
            OTHER
            if rule is None
            else template(rule.rule).replace("{service_id}", "{id}")
        )
        began = g.get("began", None)
        if began is not None:
            metrics.request(route, response.status_code).observe(perf_counter() - began)
        return response
