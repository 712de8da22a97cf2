"""Requests made from the OpenAPI document: what it allows, and what it forbids."""

import random
import re
from collections.abc import Mapping
from typing import Any

import hypothesis
import requests
import schemathesis
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st
from hypothesis.errors import HypothesisException
from schemathesis import GenerationMode
from schemathesis.config import SchemathesisConfig

from e2e.fuzz.request import OWNER_KEY, Asked
from modularity_registry.api.openapi.document import document
from modularity_registry.api.query import cursor_after

# What the library adds by itself to each request.
_ADDED = {"user-agent", "x-schemathesis-testcaseid", "connection", "content-length"}
_KEY = re.compile(rb'("owner_key": *)"(?:[^"\\]|\\.){4,}"')
_AUTHORITY = re.compile(rb'((?:http|https|tcp|grpc):)//[^/"\\]*')
_NAMES = {"service_id": "hello-service", "name": "greet"}


def made_from_document(seed: int, examples: int) -> list[Asked]:
    """Return requests to every operation, as many as ``examples`` of either kind.

    The same seed gives the same. Half of the names in addresses are those of a service
    and a capability that the caller is to have registered. Locations lead to loopback.
    """
    schemathesis.openapi.format(
        "cursor", st.from_regex(r"\A[a-z0-9]{1,20}\Z").map(cursor_after)
    )
    config = SchemathesisConfig.from_dict({"seed": seed})
    api = schemathesis.openapi.from_dict(document(), config=config)
    rng = random.Random(seed)
    found: list[Asked] = []
    for operation in (_sound(each) for each in api.get_all_operations()):
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            strategy = operation.as_strategy(generation_mode=mode)
            found += [_asked(case, rng) for case in _drawn(strategy, seed, examples)]
    return found


def _sound(result: Any) -> Any:
    return result.ok()  # raises for an operation that can't be read


def _drawn(strategy: Any, seed: int, examples: int) -> list[Any]:
    drawn: list[Any] = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(strategy)
    def draw(case: Any) -> None:
        drawn.append(case)

    try:
        draw()
    except HypothesisException:
        # Where nothing is taken, nothing can be forbidden.
        assert not drawn
    return drawn


def _asked(case: Any, rng: random.Random) -> Asked:
    for name in case.path_parameters or {}:
        if rng.random() < 0.5:
            case.path_parameters[name] = _NAMES[name]
    prepared = requests.Request(
        **case.as_transport_kwargs(base_url="http://127.0.0.1")
    ).prepare()
    body = prepared.body
    raw = body.encode() if isinstance(body, str) else body
    return Asked(
        (prepared.method or "").encode(),
        prepared.path_url.encode(),
        _headers(prepared.headers),
        None if raw is None else grounded(raw),
    )


def _headers(given: Mapping[str, Any]) -> tuple[tuple[bytes, bytes], ...]:
    pairs = [(_bytes(name), _bytes(value)) for name, value in given.items()]
    return tuple(
        (name, OWNER_KEY if name == b"X-Owner-Key" and len(value) > 3 else value)
        for name, value in pairs
        if name.decode().lower() not in _ADDED
    )


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1", "replace")


def grounded(body: bytes) -> bytes:
    """Return the body with every location on loopback: nothing is to leave here.

    Every registration also gets the owner key that the test knows.
    """
    body = _AUTHORITY.sub(rb"\1//127.0.0.1:9", body)
    return _KEY.sub(rb'\1"' + OWNER_KEY + b'"', body)
