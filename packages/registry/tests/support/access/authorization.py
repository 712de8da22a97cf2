"""Registries that ask for tokens, and tokens to show them."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from modularity_registry import config, runtime, tokens
from modularity_registry.model.rights import Right, TokenRequest
from modularity_registry.runtime import Registry
from support.registry import LOOP, ManualClock, unload


@contextmanager
def closed_registry(
    clock: ManualClock | None = None, **settings: Any
) -> Iterator[Registry]:
    """A registry with ``--auth``, on a clock by hand, without any token yet."""
    registry = runtime.build(
        config.Settings(auth=True, **settings),
        clock or ManualClock(),
        replica="replica-1",
    )
    LOOP.call(registry.feed.start())
    try:
        yield registry
    finally:
        unload(registry)


def token(
    registry: Registry,
    name: str,
    *rights: str,
    ids: tuple[str, ...] = ("*",),
    capabilities: tuple[str, ...] = ("*",),
    lifetime: float | None = None,
) -> str:
    """Make a token and return its text."""
    assert registry.token_backend is not None
    ends = None if lifetime is None else timedelta(seconds=lifetime)
    request = TokenRequest(name, frozenset(map(Right, rights)), ids, capabilities, ends)
    return tokens.create(registry.token_backend, request, registry.clock.now()).text


def bearer(text: str) -> dict[str, str]:
    """The header that shows a token."""
    return {"Authorization": f"Bearer {text}"}
