"""The schemas of request bodies, generated from `schema.request_models`."""

from collections.abc import Mapping

from pydantic import BaseModel

from modularity_registry.api.openapi.builders import (
    Json,
    add_examples,
    generated,
    ref,
)
from modularity_registry.model.service import CHECKED_MODES, MODES
from modularity_registry.schema import check_models, request_models
from modularity_registry.schema.patterns import LOCATION_PATTERNS

_MODELS: dict[str, type[BaseModel]] = {
    "HealthCheck": request_models.HealthCheck,
    "Check": check_models.Check,
    "Expectation": check_models.Expectation,
    "Invoke": check_models.Invoke,
    "JsonExpectation": check_models.JsonExpectation,
    "TlsOptions": check_models.TlsOptions,
    "Registration": request_models.RegistrationBody,
    "DrainOrder": request_models.DrainBody,
    "Heartbeat": request_models.HeartbeatBody,
    "CheckReport": request_models.CheckReportBody,
    "DiscoveryRequest": request_models.DiscoverBody,
    "Invocation": request_models.InvocationBody,
    "Invocations": request_models.InvocationsBody,
    "TokenWish": request_models.TokenBody,
    "Rotation": request_models.RotationBody,
    "Split": request_models.SplitBody,
}


def _schema(model: type[BaseModel]) -> Json:
    """Return the schema of a body, without those of the models in it."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)
    return generated(schema)


def _by_mode() -> list[Json]:
    """Return the rules that `parse` applies to a registration of each mode."""
    health: Mapping[str, Json] = {
        "http": {},
        "tcp": {"properties": {"path": {"type": "null"}}},
        "grpc": {"properties": {"path": {"type": "null"}}},
    }
    rules: list[Json] = [
        _when([mode], location={"pattern": pattern}, health=health[mode])
        for mode, pattern in LOCATION_PATTERNS.items()
    ]
    unchecked: list[str] = [mode for mode in MODES if mode not in CHECKED_MODES]
    return [*rules, _when(unchecked, health={"type": "null"})]


def _when(modes: list[str], **rules: Json) -> Json:
    return {
        "if": {"properties": {"mode": {"enum": modes}}, "required": ["mode"]},
        "then": {"properties": {field: rule for field, rule in rules.items() if rule}},
    }


SCHEMAS: dict[str, Json] = {name: _schema(model) for name, model in _MODELS.items()}
"""The schemas of all request bodies, by name."""

SCHEMAS["Invocations"]["properties"]["invocations"]["items"] = ref("Invocation")
add_examples(SCHEMAS)
SCHEMAS["Registration"]["allOf"] = _by_mode()
SCHEMAS["RegistrationHere"] = SCHEMAS["Registration"] | {
    "description": "A service to register under the id in the path. `id` may be left"
    " out; if it is there, it must be the same.",
    "required": [key for key in SCHEMAS["Registration"]["required"] if key != "id"],
}

REGISTRATION: dict[str, Json] = SCHEMAS["Registration"]["properties"]
"""The schemas of a registration's fields."""
