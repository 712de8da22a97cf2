"""Adds to every call who may make it, from the table by which that is decided."""

from collections.abc import Mapping

from modularity_registry.api.openapi import errors
from modularity_registry.api.openapi.builders import Json
from modularity_registry.api.openapi.operation import CODES
from modularity_registry.api.openapi.parameters import parameters
from modularity_registry.api.route_policy import PUBLIC, ROUTES, template
from modularity_registry.model.rights import Right

SCHEME = "token"
SECURITY_SCHEMES: dict[str, Json] = {
    SCHEME: {
        "type": "http",
        "scheme": "bearer",
        "description": "A token, if the registry requires one (`--auth`).",
    }
}

_RIGHTS = {
    (method.lower(), template(rule)): policy.right
    for (method, rule), policy in ROUTES.items()
}


def guarded(paths: Mapping[str, Json]) -> Json:
    """Return the paths with each call's rights and all of its error replies."""
    return {
        path: {
            method: _guarded(operation, _RIGHTS[method, path])
            for method, operation in methods.items()
        }
        for path, methods in paths.items()
    }


def _guarded(operation: Json, right: Right | None) -> Json:
    result = {key: value for key, value in operation.items() if key != CODES}
    codes = list(operation[CODES])
    if right is PUBLIC:
        result["security"] = []
    else:
        result["x-right"] = right
        # No token at all if the registry is open.
        result["security"] = [{SCHEME: []}, {}]
        description = result.get("description", "")
        needs = f"Needs the right `{right}` if the registry requires tokens."
        result["description"] = "\n\n".join(filter(None, (description, needs)))
        codes += ["unauthorized", "forbidden"]
    if "unauthorized" in codes:
        # Rate limits apply to these calls, and to bad tokens on any.
        codes.append("too_many_requests")
    if right is Right.REGISTER:
        codes.append("owned_by_another")
        result["parameters"] = [*result.get("parameters", []), *parameters("OwnerKey")]
    replies = errors.replies(dict.fromkeys(codes))
    result["responses"] = {**operation["responses"], **replies}
    return result
