"""What a reply's field says of itself in OpenAPI's document."""

from typing import Any

from msgspec import Meta

EARLIER = "2026-10-17T02:59:31.123456Z"
LATER = "2026-10-17T03:04:31.123456Z"


def doc(description: str, *examples: object, **rules: Any) -> Meta:
    """Return a field's description and example; ``rules`` are in JSON Schema's words.

    Without an example the document shows that of the struct in the field. Rules are
    described, not enforced: the registry does not parse replies.
    """
    return Meta(
        description=description,
        examples=list(examples) or None,
        extra_json_schema=rules or None,
    )


def count(description: str, example: int, minimum: int = 0) -> Meta:
    """Return the same for a whole number that is never below ``minimum``."""
    return doc(description, example, minimum=minimum)


def time(description: str, example: str = EARLIER) -> Meta:
    """Return the same for a time."""
    return doc(description, example, format="date-time")
