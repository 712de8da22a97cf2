"""What the models of all request bodies are made of."""

from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field


def doc(description: str, example: object, **rules: Any) -> Any:
    """Return what OpenAPI says of a field; ``rules`` add to its schema alone."""
    return Field(description=description, examples=[example], json_schema_extra=rules)


STRICT: Final = ConfigDict(extra="forbid", strict=True)


Seconds = Annotated[float, Field(allow_inf_nan=False)]


Interval = Annotated[
    Seconds | None, Field(ge=1, le=86_400), doc("Seconds between two checks.", 10)
]
Timeout = Annotated[
    Seconds | None,
    Field(ge=0.1, le=300),
    doc("Seconds after which a check fails.", 2),
]


def whole(value: object) -> object:
    """Return 3 for 3.0: JSON has one kind of number, however it is written."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
