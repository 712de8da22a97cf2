"""Rules of a registration's checks that depend on the kind, the mode or each other."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from modularity_registry.errors import FieldError
from modularity_registry.model import checks
from modularity_registry.model.service import CHECKED_MODES, MODES
from modularity_registry.schema.check_models import Check

_TIMES: Final = frozenset({"port", "interval", "timeout", "fall", "rise"})
_HTTP: Final = _TIMES | {"path", "method", "headers", "body", "expect"}

FIELDS: Final[Mapping[str, frozenset[str]]] = {
    "http": _HTTP,
    "https": _HTTP | {"tls"},
    "tcp": _TIMES,
    "grpc": _TIMES | {"service", "tls"},
    "ttl": frozenset({"ttl"}),
    "module": (_TIMES - {"port"}) | {"headers", "tls", "invoke"},
}
"""The fields that a check of each kind may have, beside name, kind and critical."""

_ALWAYS: Final = frozenset({"name", "kind", "critical"})
_KNOWN: Final = frozenset(Check.model_fields)


def errors(items: object, mode: str) -> Iterator[FieldError]:
    """Yield what is wrong with the checks of a service of this mode.

    What `Check` finds wrong by itself is not said again.
    """
    if not isinstance(items, list):
        return
    names: set[str] = set()
    for number, check in enumerate(items[: 2 * len(_KNOWN)]):
        if not isinstance(check, dict):
            continue
        name = check.get("name")
        if isinstance(name, str):
            if name in names:
                yield FieldError(f"checks.{number}.name", "is used twice")
            names.add(name)
        kind = check.get("kind")
        if isinstance(kind, str) and kind in FIELDS:
            for field, message in _of_kind(check, kind, mode):
                yield FieldError(f"checks.{number}.{field}", message)


def _of_kind(check: dict[str, Any], kind: str, mode: str) -> Iterator[tuple[str, str]]:
    if kind == "ttl":
        if check.get("ttl") is None:
            yield "ttl", "is required for kind 'ttl'"
    elif mode in MODES and mode not in CHECKED_MODES:
        yield "kind", (
            f"must be another one: of a service of mode {mode!r} the registry has no"
            " host to connect to"
        )
    elif kind == "module" and mode in MODES and mode != "http":
        yield "kind", f"needs a service of mode 'http', not {mode!r}"
    for field in sorted(_KNOWN & {*check} - FIELDS[kind] - _ALWAYS):
        if check[field] is not None:
            kinds = " and ".join(repr(k) for k, has in FIELDS.items() if field in has)
            yield field, f"is allowed for kind {kinds} only"
    method = check.get("method", "GET")
    if check.get("body") and method != "POST":
        yield "body", "is allowed for method 'POST' only"
    expect = check.get("expect")
    if method == "HEAD" and isinstance(expect, dict) and expect.get("json") is not None:
        yield "expect.json", "needs an answer with a body, which 'HEAD' does not have"
    tls = check.get("tls")
    if kind == "grpc" and isinstance(tls, dict) and tls.get("verify") is False:
        yield "tls.verify", "must be true: a gRPC check always verifies"


def parsed(models: list[Check]) -> tuple[checks.ServiceCheck, ...]:
    """Return the checks of a body that is valid."""
    return tuple(_parsed(model) for model in models)


def _parsed(model: Check) -> checks.ServiceCheck:
    expect, tls = model.expect, model.tls
    expectation = None
    if expect is not None:
        field, json = expect.json_field, None
        if field is not None:
            json = checks.JsonExpectation(field.path, field.value)
        expectation = checks.Expectation(expect.status, json)
    invoke = None
    if model.invoke is not None:
        wanted = model.invoke.expect
        invoke = checks.Invoke(
            model.invoke.capability,
            msgspec.Raw(model.invoke.params),
            checks.JsonExpectation(wanted.path, wanted.value) if wanted else None,
        )
    options = checks.TlsOptions(tls.verify, tls.server_name) if tls else None
    plain = dict(model) | {"expect": expectation, "tls": options, "invoke": invoke}
    return checks.ServiceCheck(**plain)
