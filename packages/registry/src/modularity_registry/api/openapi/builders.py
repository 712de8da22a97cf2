"""Short ways to write JSON Schema and OpenAPI as Python values."""

from collections.abc import Iterable, Mapping, Sequence
from inspect import cleandoc
from typing import Any

Json = dict[str, Any]
Kind = str | tuple[str, ...]

JSON = "application/json"


def ref(name: str, section: str = "schemas") -> Json:
    """Return a reference to a component."""
    return {"$ref": f"#/components/{section}/{name}"}


def field(kind: Kind, description: str, example: Any, **rules: Any) -> Json:
    """Return the schema of a field; several kinds in ``kind`` are alternatives."""
    return {
        "type": kind if isinstance(kind, str) else list(kind),
        "description": description,
        "examples": [example],
        **rules,
    }


def text(description: str, example: str | None, **rules: Any) -> Json:
    """Return the schema of a text."""
    return field("string", description, example, **rules)


def listed(items: Json, description: str, example: Sequence[Any], **rules: Any) -> Json:
    """Return the schema of a list."""
    return field("array", description, list(example), items=items, **rules)


def record(
    description: str,
    fields: Mapping[str, Json],
    optional: Iterable[str] = (),
    **rules: Any,
) -> Json:
    """Return the schema of an object; its example is made of its fields' first ones.

    All fields are required but for those in ``optional``.
    """
    left_out = set(optional)
    return {
        "type": "object",
        "description": description,
        "properties": dict(fields),
        "required": [name for name in fields if name not in left_out],
        "examples": [{name: each["examples"][0] for name, each in fields.items()}],
        **rules,
    }


def example_of(schema: Json, *without: str) -> Json:
    """Return the first example of an object's schema, without some of its fields."""
    example: Json = schema["examples"][0]
    return {name: value for name, value in example.items() if name not in without}


def generated(schema: Json) -> Json:
    """Return a generated schema of an object in the notation of this document."""
    return {"properties": {}, "required": [], **_plain(schema)}


def _plain(value: Any) -> Any:
    """Return a schema without titles; a type or null becomes one list of types."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    schema = {key: _plain(item) for key, item in value.items()}
    if isinstance(schema.get("title"), str):
        del schema["title"]
    if isinstance(schema.get("description"), str):
        schema["description"] = cleandoc(schema["description"])
    match schema.get("anyOf"):
        case [{"type": str(kind), **rules}, {"type": "null"}]:
            del schema["anyOf"]
            return {**schema, **rules, "type": [kind, "null"]}
    return schema


def add_examples(schemas: Mapping[str, Json]) -> None:
    """Give every schema an example made of its fields' first ones.

    A field without one takes that of the component in it.
    """
    for name in schemas:
        _add_example(schemas, schemas[name])


def _add_example(schemas: Mapping[str, Json], schema: Json) -> Any:
    """Return a schema's first example, after adding it where there is none."""
    if "examples" not in schema:
        match schema:
            case {"properties": fields}:
                example: Any = {
                    name: _add_example(schemas, field) for name, field in fields.items()
                }
            case {"items": items}:
                example = [_add_example(schemas, items)]
            case {"$ref": reference}:
                example = _add_example(schemas, schemas[reference.rpartition("/")[2]])
        schema["examples"] = [example]
    return schema["examples"][0]


def content(schema: Json, example: Any, kind: str = JSON) -> Json:
    """Return the ``content`` of a body of one media type."""
    return {kind: {"schema": schema, "example": example}}


def header(description: str, schema: Json, required: bool = True) -> Json:
    """Return a header of a reply."""
    return {"description": description, "required": required, "schema": schema}
