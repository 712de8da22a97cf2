"""Every limit of every body, on both sides; its JSON Schema and the parser agree."""

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any, Final

from jsonschema import Draft202012Validator
from pydantic import BaseModel

from modularity_registry import schema
from modularity_registry.errors import InvalidRequest
from modularity_registry.schema import registration_decoder, request_models
from support.registry import registration

SERVICE: Final = registration()
UNCHECKED: Final = registration(mode="embedded", location="here")
CALL: Final = {"consumer_id": "c", "provider_id": "p", "capability": "greet"}
TOKEN: Final = {"name": "t", "rights": ["read"]}
PARSERS: Final[dict[type[BaseModel], Callable[[bytes], object]]] = {
    request_models.RegistrationBody: schema.parse_registration,
    request_models.HeartbeatBody: schema.parse_heartbeat,
    request_models.CheckReportBody: schema.parse_check_report,
    request_models.DrainBody: schema.parse_drain,
    request_models.DiscoverBody: schema.parse_discovery,
    request_models.InvocationBody: schema.parse_invocation,
    request_models.InvocationsBody: schema.parse_invocations,
    request_models.SplitBody: lambda body: schema.parse_split(body, "greet"),
    request_models.TokenBody: schema.parse_token,
    request_models.RotationBody: schema.parse_rotation,
}

Body = dict[str, Any]
Case = tuple[type[BaseModel], Body, bool]


def checked(kind: str = "http", **more: Any) -> Body:
    return registration(checks=[{"name": "c", "kind": kind, **more}])


def changed(body: Body, path: str, value: Any) -> Body:
    """Return the body with another value at a path like ``checks.0.port``."""
    copy = deepcopy(body)
    *parents, last = path.split(".")
    inner: Any = copy
    for part in parents:
        inner = inner[0] if isinstance(inner, list) else inner.setdefault(part, {})
    inner[last] = value
    return copy


def sizes(
    body: Body, path: str, least: int, most: int, of: Callable[[int], Any]
) -> Iterator[tuple[Body, bool]]:
    """Yield bodies with the least and the most, and with one less and one more."""
    for size in {least - 1, least, most, most + 1} - {-1}:
        yield changed(body, path, of(size)), least <= size <= most


def numbers(
    body: Body, path: str, least: float, most: float, step: float = 1
) -> Iterator[tuple[Body, bool]]:
    for number in (least - step, least, most, most + step):
        yield changed(body, path, number), least <= number <= most


def text(size: int) -> str:
    return "a" * size


def names(size: int) -> list[str]:
    return [f"n{number}" for number in range(size)]


def registrations() -> Iterator[tuple[Body, bool]]:
    yield from sizes(SERVICE, "id", 1, 128, text)
    yield from sizes(SERVICE, "name", 1, 256, text)
    yield from sizes(SERVICE, "version", 1, 128, text)
    yield from sizes(SERVICE, "owner_key", 16, 256, text)
    yield from sizes(SERVICE, "instance", 1, 128, text)
    yield from sizes(SERVICE, "zone", 1, 63, text)
    yield from sizes(SERVICE, "region", 1, 63, text)
    yield from sizes(UNCHECKED, "location", 1, 2048, text)
    yield from sizes(SERVICE, "capabilities", 0, 256, names)
    yield from sizes(SERVICE, "capabilities", 1, 128, lambda size: [text(size)])
    yield from sizes(SERVICE, "health.path", 1, 512, lambda size: "/" * size)
    yield from numbers(SERVICE, "health.interval", 1, 86_400, 0.5)
    yield from numbers(SERVICE, "health.timeout", 0.1, 300, 0.05)
    yield from numbers(SERVICE, "ttl", 1, 604_800, 0.5)
    yield from numbers(SERVICE, "weight", 0, 65_535)
    yield from numbers(SERVICE, "priority", 0, 65_535)
    yield changed(SERVICE, "health.colour", "red"), False


def checks() -> Iterator[tuple[Body, bool]]:
    def many(size: int) -> list[Body]:
        return [{"name": f"c{number}", "kind": "tcp"} for number in range(size)]

    def codes(size: int) -> list[int]:
        return list(range(200, 200 + size))

    def headers(size: int) -> dict[str, str]:
        return {f"X-{number}": "" for number in range(size)}

    http, https, grpc = checked(), checked("https"), checked("grpc")
    module = checked("module", invoke={"capability": "greet"})
    field = checked(expect={"json": {"path": "a", "value": 1}})
    yield from sizes(SERVICE, "checks", 0, 16, many)
    yield from sizes(http, "checks.0.name", 1, 64, text)
    yield from numbers(http, "checks.0.port", 1, 65_535)
    yield from sizes(http, "checks.0.path", 0, 512, lambda size: "/" * size)
    yield from sizes(http, "checks.0.headers", 0, 16, headers)
    yield from sizes(http, "checks.0.headers.X", 0, 1024, text)
    yield from sizes(http, "checks.0.expect.status", 0, 16, codes)
    yield from sizes(field, "checks.0.expect.json.path", 1, 256, text)
    yield from sizes(grpc, "checks.0.service", 0, 256, text)
    yield from sizes(https, "checks.0.tls.server_name", 0, 253, text)
    yield from numbers(http, "checks.0.fall", 1, 100)
    yield from numbers(http, "checks.0.rise", 1, 100)
    yield from numbers(checked("ttl"), "checks.0.ttl", 1, 604_800, 0.5)
    yield from sizes(module, "checks.0.invoke.capability", 1, 128, text)
    yield changed(module, "checks.0.invoke.params", {"a": {"b": [1]}}), True
    for code in (199, 200, 599, 600):
        yield changed(http, "checks.0.expect.status", [code]), 200 <= code <= 599


def others() -> Iterator[Case]:
    models = request_models
    bodies: list[tuple[type[BaseModel], Iterator[tuple[Body, bool]]]] = [
        (models.HeartbeatBody, sizes({}, "note", 0, 1024, text)),
        (models.HeartbeatBody, sizes({}, "instance", 1, 128, text)),
        (models.CheckReportBody, sizes({}, "note", 0, 1024, text)),
        (models.DrainBody, sizes({}, "reason", 0, 1024, text)),
        (models.DiscoverBody, sizes({}, "capabilities", 0, 256, names)),
        (models.DiscoverBody, sizes({}, "optional", 0, 256, names)),
        (models.InvocationBody, sizes(CALL, "consumer_id", 1, 128, text)),
        (models.InvocationBody, numbers(CALL, "latency_ms", 0, 86_400_000, 0.5)),
        (
            models.InvocationsBody,
            sizes({}, "invocations", 1, 1000, lambda size: [CALL] * size),
        ),
        (models.SplitBody, numbers({"v1": 1}, "v2", 0, 10_000)),
        (models.TokenBody, sizes(TOKEN, "name", 1, 64, text)),
        (models.TokenBody, sizes(TOKEN, "ids", 1, 64, names)),
        (models.TokenBody, sizes(TOKEN, "capabilities", 1, 64, names)),
        (models.TokenBody, sizes(TOKEN, "rights", 1, 4, lambda size: ["read"] * size)),
        (models.TokenBody, numbers(TOKEN, "expires_in", 1, 366 * 864_000, 0.5)),
        (models.RotationBody, numbers({}, "grace", 0, 30 * 86_400, 0.5)),
    ]
    for model, cases in bodies:
        for body, good in cases:
            yield model, body, good
    for size in (0, 1, 16, 17):
        yield models.SplitBody, dict.fromkeys(names(size), 1), 1 <= size <= 16
    yield models.SplitBody, {"-": 1}, False


def cases() -> Iterator[Case]:
    for generate in (registrations, checks):
        for body, good in generate():
            yield request_models.RegistrationBody, body, good
    yield from others()


def takes(parse: Callable[[bytes], object], body: Body) -> bool:
    try:
        parse(json.dumps(body).encode())
    except InvalidRequest:
        return False
    return True


def test_what_is_within_a_limit_is_taken_and_what_is_beyond_is_refused() -> None:
    for model, body, good in cases():
        assert takes(PARSERS[model], body) == good, (model, body)


def test_the_schema_takes_and_refuses_the_same() -> None:
    validators = {
        model: Draft202012Validator(model.model_json_schema()) for model in PARSERS
    }
    for model, body, good in cases():
        assert validators[model].is_valid(body) == good, (model, body)


def test_the_schema_says_the_lengths_that_are_in_a_pattern_too() -> None:
    fields = request_models.RegistrationBody.model_json_schema()["properties"]
    names = [fields[name] for name in ("id", "instance")]
    assert all((name["minLength"], name["maxLength"]) == (1, 128) for name in names)
    places = [fields[name] for name in ("zone", "region")]
    assert all((name["minLength"], name["maxLength"]) == (1, 63) for name in places)


def test_the_quick_decoder_and_parse_have_the_same_limits() -> None:
    for body, good in registrations():
        raw = json.dumps(body).encode()
        assert (registration_decoder.decode(raw) is not None) == good, body
        assert takes(lambda raw: schema.parse_registration(raw, "n"), body) == (
            good and body["id"] == "n"
        )
