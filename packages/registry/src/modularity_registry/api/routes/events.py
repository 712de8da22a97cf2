"""What Flask answers of ``/api/events``: everything but the streams themselves."""

from flask import Blueprint, Response, request

from modularity_registry.api import authorization, rate_limits, replies
from modularity_registry.api.long_replies.streams import HEADERS, opening
from modularity_registry.api.query import EVENTS
from modularity_registry.api.routes import blueprint_of
from modularity_registry.runtime import Registry


def routes(registry: Registry) -> Blueprint:
    """Return ``/api/events``.

    `Streams` opens the streams. What comes here is a call for the headers alone, or
    one to refuse. A GET that can be granted after all, or that was sent before the
    connection's last reply, gets a stream that ends at once, and its reader comes back.
    """

    def events() -> Response:
        query = replies.query(*EVENTS)
        query.interest()
        query.finish()
        registry.feed.require_read()  # there would be no position to go on from
        caller = authorization.caller_of(request)
        client = rate_limits.client_of(request.environ, caller)
        registry.hub.places.require(client)
        text, _ = opening(registry.hub, None)
        response = Response(text)
        response.headers.update(HEADERS)
        return response

    return blueprint_of("watching", "/api", ("GET /events", events))
