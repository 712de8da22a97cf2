"""A body as its type, or an error that names every bad field in plain words."""

from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from modularity_registry.errors import MOST_ERRORS, FieldError, InvalidRequest
from modularity_registry.model.rights import GLOB_PATTERN, NAME_PATTERN
from modularity_registry.model.split import GROUP_PATTERN
from modularity_registry.schema.patterns import (
    CAPABILITY_PATTERN,
    CHECK_NAME_PATTERN,
    HOST_NAME_PATTERN,
    ID_PATTERN,
    KEY_PATTERN,
    TEXT_PATTERN,
    ZONE_PATTERN,
)

BodyT = TypeVar("BodyT", bound=BaseModel)


def validated(
    model: type[BodyT], data: dict[str, Any], errors: list[FieldError] | None = None
) -> BodyT:
    all_errors, more = errors or [], 0
    try:
        result = model.model_validate(data)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        more = max(0, len(details) - MOST_ERRORS)
        told = [_field_error(dict(detail)) for detail in details[:MOST_ERRORS]]
        all_errors = [*told, *all_errors]
    if all_errors:
        raise InvalidRequest.of(all_errors, more)
    return result


_MESSAGES: dict[str, Callable[[dict[str, Any]], str]] = {
    "missing": lambda ctx: "is required",
    "extra_forbidden": lambda ctx: "is not a known field",
    "string_type": lambda ctx: "must be a string",
    "string_unicode": lambda ctx: "must be valid Unicode",
    "string_too_short": lambda ctx: (
        "must not be empty"
        if ctx["min_length"] == 1
        else f"must have at least {ctx['min_length']} characters"
    ),
    "string_too_long": lambda ctx: f"must have at most {ctx['max_length']} characters",
    "int_type": lambda ctx: "must be a whole number",
    "float_type": lambda ctx: "must be a number",
    "finite_number": lambda ctx: "must be a finite number",
    "bool_type": lambda ctx: "must be true or false",
    "list_type": lambda ctx: "must be a list",
    "dict_type": lambda ctx: "must be an object",
    "model_type": lambda ctx: "must be an object",
    "too_short": lambda ctx: "must not be empty",
    "too_long": lambda ctx: f"must have at most {ctx['max_length']} entries",
    "literal_error": lambda ctx: f"must be one of {ctx['expected']}",
    "greater_than_equal": lambda ctx: f"must be at least {ctx['ge']:g}",
    "less_than_equal": lambda ctx: f"must be at most {ctx['le']:g}",
    "value_error": lambda ctx: str(ctx["error"]),
}

PATTERNS = {
    NAME_PATTERN: "must be 1-64 of a-z 0-9 . - and start with a letter or digit",
    GLOB_PATTERN: "must be 1-128 of A-Z a-z 0-9 . _ : / - and * for any of them",
    GROUP_PATTERN: (
        "must be 1-64 of A-Z a-z 0-9 . _ + - and start with a letter or digit, as in"
        " canary or v1.4"
    ),
    ID_PATTERN: "must be 1-128 of A-Z a-z 0-9 . _ : - and start with a letter or digit",
    CAPABILITY_PATTERN: (
        "must be of A-Z a-z 0-9 . _ : / - and start with a letter or digit; between"
        " slashes, there must be something other than . or .. (clients and proxies"
        " would change it)"
    ),
    CHECK_NAME_PATTERN: "must be 1-64 of a-z 0-9 - and start with a letter or digit",
    HOST_NAME_PATTERN: "must be a host name, as in hello.example",
    ZONE_PATTERN: "must be 1-63 of A-Z a-z 0-9 . _ - and start with a letter or digit",
    KEY_PATTERN: "must be printable ASCII without spaces",
    TEXT_PATTERN: "must not contain control characters",
}


def _field_error(detail: dict[str, Any]) -> FieldError:
    # Of an object with any keys, a key itself may be bad, or the object as a whole.
    parts = [str(part) for part in detail["loc"] if part != "[key]"]
    field = ".".join(parts) or "the body"
    context = detail.get("ctx", {})
    kind = detail["type"]
    if kind == "string_pattern_mismatch":
        return FieldError(field, PATTERNS[context["pattern"]])
    render = _MESSAGES.get(kind)
    return FieldError(field, render(context) if render else str(detail["msg"]))
