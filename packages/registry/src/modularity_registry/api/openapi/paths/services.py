"""The calls about services."""

from modularity_registry.api.openapi.builders import Json, example_of
from modularity_registry.api.openapi.operation import (
    REGISTERING,
    WATCHING,
    WRITING,
    RequestBody,
    call,
    read,
    reply,
)
from modularity_registry.api.openapi.parameters import LISTS
from modularity_registry.api.openapi.schemas.replies import SCHEMAS
from modularity_registry.api.replies import REGISTERED, UNREGISTERED

_TAG = "Services"
_CONDITION = ("revision_mismatch",)


def _written(description: str, status: str, message: str) -> Json:
    example = example_of(SCHEMAS["Written"])
    example.pop("displaced")
    return reply(
        description, "Written", {**example, "status": status, "message": message}
    )


_REGISTERED = {
    "200": _written(
        "The service replaced the one with its id.",
        "registered",
        REGISTERED,
    ),
    "201": _written("The service is new.", "registered", REGISTERED),
}


def _unregister(name: str, description: str = "") -> Json:
    unregistered = _written(
        "The service is unregistered; or the instance has left, and others keep it.",
        "unregistered",
        UNREGISTERED,
    )
    return call(
        name,
        _TAG,
        "Unregister a service",
        {"200": unregistered},
        ("invalid_request", "service_not_found", *_CONDITION, *WRITING),
        ("ServiceId", "Instance", "IfMatch"),
        description=description,
    )


def _heartbeat(name: str, description: str) -> Json:
    return call(
        name,
        _TAG,
        "Send a heartbeat",
        {"200": reply("The registry received the heartbeat.", "Acknowledgement")},
        ("invalid_request", "not_registered", *WRITING),
        ("ServiceId",),
        RequestBody("Heartbeat", required=False),
        description,
    )


PATHS: dict[str, Json] = {
    "/api/register": {
        "post": call(
            "register",
            _TAG,
            "Register or replace a service",
            _REGISTERED,
            (*REGISTERING, *_CONDITION, *WRITING),
            ("IfMatch", "IfNew"),
            RequestBody("Registration"),
            "The service is `healthy` until a check fails or warns. A replacement"
            " starts without the faults and the drain of the service before it.",
        )
    },
    "/api/services": {
        "get": call(
            "list_services",
            _TAG,
            "List services",
            read(
                "A page of services, sorted by id.",
                "Services",
                example_of(SCHEMAS["Services"], "next"),
            ),
            ("invalid_request", *WATCHING),
            (*LISTS, "IfNoneMatch"),
        )
    },
    "/api/services/{service_id}": {
        "get": call(
            "read_service",
            _TAG,
            "Show a service, and why it has its status",
            read("The service.", "ServiceWithEvidence"),
            ("invalid_request", "service_not_found"),
            ("ServiceId", "IfNoneMatch"),
        ),
        "put": call(
            "register_here",
            _TAG,
            "Register or replace a service under the id in the path",
            _REGISTERED,
            (*REGISTERING, *_CONDITION, *WRITING),
            ("ServiceId", "IfMatch", "IfNew"),
            RequestBody("RegistrationHere"),
        ),
        "delete": _unregister("unregister"),
    },
    "/api/services/{service_id}/history": {
        "get": call(
            "read_history",
            _TAG,
            "Show the changes of a service's status in the last hour",
            read("The changes, oldest first.", "History"),
            ("invalid_request", "service_not_found"),
            ("ServiceId", "IfNoneMatch"),
        )
    },
    "/api/unregister/{service_id}": {
        "delete": _unregister(
            "unregister_as_before", "The same as `DELETE /api/services/{service_id}`."
        )
    },
    "/api/services/{service_id}/drain": {
        "put": call(
            "drain",
            _TAG,
            "Drain a service",
            {"200": reply("The service gets no new calls.", "Written")},
            ("invalid_request", "service_not_found", *WRITING),
            ("ServiceId",),
            RequestBody("DrainOrder", required=False),
            "The service stays registered, but callers don't get it any more.",
        ),
        "delete": call(
            "undrain",
            _TAG,
            "End a drain",
            {
                "200": _written(
                    "The service is no longer drained. `status` is its current status.",
                    "healthy",
                    "Service 'hello-service' is back in discovery",
                )
            },
            ("invalid_request", "service_not_found", *WRITING),
            ("ServiceId",),
        ),
    },
    "/api/heartbeat/{service_id}": {
        "post": _heartbeat(
            "heartbeat",
            "Renews the service's lease, if it has one. Without a body, it reports"
            " the service as healthy.",
        )
    },
    "/api/services/{service_id}/heartbeat": {
        "post": _heartbeat(
            "heartbeat_here", "The same as `POST /api/heartbeat/{service_id}`."
        )
    },
    "/api/services/{service_id}/checks/{name}": {
        "post": call(
            "report_check",
            _TAG,
            "Report a check of kind `ttl`",
            {"200": reply("The registry received the report.", "Acknowledgement")},
            ("invalid_request", "not_registered", *WRITING),
            ("ServiceId", "CheckName"),
            RequestBody("CheckReport", required=False),
            "Renews the check's term. Without a body, it reports the check as healthy.",
        )
    },
}
"""The calls about services, by path and method."""
