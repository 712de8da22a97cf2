"""The calls about services."""

from modularity_registry.api.openapi.builders import Json, example_of
from modularity_registry.api.openapi.operation import (
    REGISTERING,
    WATCHING,
    WRITING,
    Taken,
    call,
    read,
)
from modularity_registry.api.openapi.operation import shown as said
from modularity_registry.api.openapi.parameters import LISTS
from modularity_registry.api.openapi.schemas import requests, services

_TAG = "Services"
_CONDITION = ("revision_mismatch",)


def _written(status: str, message: str) -> Json:
    return {
        **example_of(services.SCHEMAS["Written"]),
        "status": status,
        "message": message,
    }


_REGISTERED = _written("registered", "Service 'Hello' registered")
_REPLACED = _written("registered", "Service 'Hello' replaced")
_WRITTEN_ANEW = {
    "200": said("It has replaced the one with its id.", "Written", _REPLACED),
    "201": said("It is new.", "Written", _REGISTERED),
}
_UNREGISTERED = {
    "200": said(
        "It is forgotten.",
        "Written",
        _written("unregistered", "Service 'hello-service' unregistered"),
    )
}
_BEATEN = {
    "200": said(
        "It was noted.",
        "Acknowledgement",
        example_of(services.SCHEMAS["Acknowledgement"]),
    )
}
_REGISTRATION = example_of(requests.SCHEMAS["Registration"])


def _unregister(name: str, description: str = "") -> Json:
    return call(
        name,
        _TAG,
        "Forgets a service",
        _UNREGISTERED,
        ("service_not_found", *_CONDITION, *WRITING),
        ("ServiceId", "IfMatch"),
        description=description,
    )


def _heartbeat(name: str, description: str = "") -> Json:
    return call(
        name,
        _TAG,
        "Notes a sign of life",
        _BEATEN,
        ("invalid_request", "not_registered", *WRITING),
        ("ServiceId",),
        Taken("Heartbeat", {"status": "unhealthy", "note": "disk full"}, False),
        description
        or "Renews the service's lease, if it has one. Without a body it says that"
        " the service is well.",
    )


PATHS: dict[str, Json] = {
    "/api/register": {
        "post": call(
            "register",
            _TAG,
            "Registers a service, or replaces the one with its id",
            _WRITTEN_ANEW,
            (*REGISTERING, *_CONDITION, *WRITING),
            ("IfMatch", "IfNew"),
            Taken("Registration", _REGISTRATION),
            "It is `healthy` until a check says otherwise. A replacement is a new"
            " registration: faults and a drain do not carry over.",
        )
    },
    "/api/services": {
        "get": call(
            "list_services",
            _TAG,
            "Lists services by id",
            read(
                "A page of services.",
                "Services",
                example_of(services.SCHEMAS["Services"], "next"),
            ),
            ("invalid_request", *WATCHING),
            (*LISTS, "IfNoneMatch"),
        )
    },
    "/api/services/{service_id}": {
        "get": call(
            "read_service",
            _TAG,
            "Shows a service and what its status rests on",
            read(
                "The service.",
                "ServiceWithEvidence",
                example_of(services.SERVICE_WITH_EVIDENCE),
            ),
            ("invalid_request", "service_not_found"),
            ("ServiceId", "IfNoneMatch"),
        ),
        "put": call(
            "register_here",
            _TAG,
            "Registers a service at its own address, or replaces it",
            _WRITTEN_ANEW,
            (*REGISTERING, *_CONDITION, *WRITING),
            ("ServiceId", "IfMatch", "IfNew"),
            Taken("RegistrationHere", _REGISTRATION),
        ),
        "delete": _unregister("unregister"),
    },
    "/api/services/{service_id}/history": {
        "get": call(
            "read_history",
            _TAG,
            "Shows how a service's status went in the last hour",
            read(
                "The changes, oldest first.",
                "History",
                example_of(services.SCHEMAS["History"]),
            ),
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
            "Takes a service out of discovery without forgetting it",
            {
                "200": said(
                    "It gets no new calls.",
                    "Written",
                    example_of(services.SCHEMAS["Written"]),
                )
            },
            ("invalid_request", "service_not_found", *WRITING),
            ("ServiceId",),
            Taken("DrainOrder", {"reason": "upgrade"}, False),
        ),
        "delete": call(
            "undrain",
            _TAG,
            "Puts a service back into discovery",
            {
                "200": said(
                    "It is back; `status` is what it is now.",
                    "Written",
                    _written("healthy", "Service 'hello-service' is back in discovery"),
                )
            },
            ("service_not_found", *WRITING),
            ("ServiceId",),
        ),
    },
    "/api/heartbeat/{service_id}": {"post": _heartbeat("heartbeat")},
    "/api/services/{service_id}/heartbeat": {
        "post": _heartbeat(
            "heartbeat_here", "The same as `POST /api/heartbeat/{service_id}`."
        )
    },
}
"""The calls about services, by path and method."""
