"""The schemas of replies, generated from `schema.replies`."""

import msgspec

from modularity_registry.api.openapi.builders import Json, add_examples, generated, ref
from modularity_registry.api.openapi.schemas import requests
from modularity_registry.schema.replies import registry, services, tokens

_STRUCTS = (
    services.ServiceWithEvidence,
    services.Services,
    services.Capabilities,
    services.Explanations,
    services.Providers,
    services.Splits,
    services.SplitWritten,
    services.Matches,
    services.Written,
    services.Acknowledgement,
    services.History,
    registry.Connections,
    registry.Graph,
    registry.Recorded,
    registry.RecordedCalls,
    registry.Stats,
    registry.Namespaces,
    registry.Health,
    registry.Ready,
    registry.Change,
    registry.StreamedEvent,
    registry.Target,
    tokens.Tokens,
    tokens.IssuedToken,
    tokens.OwnToken,
    tokens.RevokedToken,
)
# Replies that repeat what a request said.
_REPEATED = dict.fromkeys(("Service", "ServiceWithEvidence"), "Registration")
_REPEATED |= dict.fromkeys(
    ("Token", "IssuedToken", "OwnToken", "RevokedToken"), "TokenWish"
)
# A token may be older than today's limits on their number.
_OF_REQUESTS = {
    "Registration": ("default",),
    "TokenWish": ("default", "minItems", "maxItems"),
}


def _schemas() -> dict[str, Json]:
    """Return the structs' schemas, with those of the structs in them."""
    _, components = msgspec.json.schema_components(
        _STRUCTS, ref_template="#/components/schemas/{name}"
    )
    schemas = {name: generated(schema) for name, schema in components.items()}
    for name, request in _REPEATED.items():
        fields = schemas[name]["properties"]
        requested = requests.SCHEMAS[request]["properties"]
        for field, schema in fields.items():
            if "description" not in schema and "$ref" not in schema:
                fields[field] = {
                    key: rule
                    for key, rule in requested[field].items()
                    if key not in _OF_REQUESTS[request]
                }
    schemas["Targets"] = {
        "type": "array",
        "description": "Services for Prometheus to scrape.",
        "items": ref("Target"),
    }
    add_examples(schemas)
    return schemas


SCHEMAS: dict[str, Json] = _schemas()
"""The schemas of all replies but errors, by name."""
