"""Times the requests that Flask answers; the hot path times its own."""

import re
from time import perf_counter

from flask import Flask, Response, g, request

from modularity_registry.metrics import Metrics

OTHER = "other"
"""The route of requests that no route is for: their paths may be anything."""

_PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")
_NAMES = {"service_id": "id"}


def install(app: Flask, metrics: Metrics) -> None:
    """Time every request of ``app`` up to the head of its reply."""

    @app.before_request
    def begin() -> None:
        g.began = perf_counter()

    @app.after_request
    def end(response: Response) -> Response:
        rule = request.url_rule
        route = OTHER if rule is None else _route(rule.rule)
        began = g.get("began", None)
        if began is not None:
            metrics.request(route, response.status_code).observe(perf_counter() - began)
        return response


def _route(rule: str) -> str:
    def named(match: re.Match[str]) -> str:
        return "{" + _NAMES.get(match[1], match[1]) + "}"

    return _PARAMETER.sub(named, rule)
