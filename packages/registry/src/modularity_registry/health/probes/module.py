"""The module check: it provides what it registered, and answers a harmless call."""

from collections.abc import Awaitable, Callable

import msgspec

from modularity_registry.health.probes.http_expectation import check_field
from modularity_registry.health.probes.outcome import CheckFailed
from modularity_registry.model.checks import Invoke, ServiceCheck
from modularity_registry.model.service import Registration
from modularity_registry.schema import encode

CAPABILITIES = "/_module/capabilities"
INVOKE = "/_module/invoke"

Ask = Callable[[ServiceCheck], Awaitable[object]]
"""Makes the request that a check describes; returns the JSON that it is answered."""

MOST_NAMES = 5
"""Missing capabilities that a message names."""


async def check_module(
    registration: Registration, check: ServiceCheck, ask: Ask
) -> str:
    """Return what was found; raises `CheckFailed`, or what ``ask`` raises."""
    request = msgspec.structs.replace(check, path=CAPABILITIES)
    _compare(await ask(request), registration)
    message = f"provides all {len(registration.capabilities)} registered capabilities"
    if check.invoke is None:
        return message
    await _invoke(check, check.invoke, ask)
    return f"{message}, and {check.invoke.capability} answers"


def _compare(answer: object, registration: Registration) -> None:
    module = answer if isinstance(answer, dict) else {}
    names = module.get("capabilities")
    if not isinstance(names, list):
        raise CheckFailed("mismatch", f"{CAPABILITIES} has no list of capabilities")
    if module.get("id") != registration.id:
        raise CheckFailed("mismatch", "another module answers: its id is not this one")
    missing = [name for name in registration.capabilities if name not in names]
    if missing:
        more = len(missing) - MOST_NAMES
        text = ", ".join(missing[:MOST_NAMES]) + (f" and {more} more" * (more > 0))
        raise CheckFailed("mismatch", f"registered, but not provided: {text}")


async def _invoke(check: ServiceCheck, invoke: Invoke, ask: Ask) -> None:
    body = {"capability": invoke.capability, "params": invoke.params}
    request = msgspec.structs.replace(
        check,
        path=INVOKE,
        method="POST",
        headers={"Content-Type": "application/json", **check.headers},
        body=encode(body).decode(),
    )
    answer = await ask(request)
    if invoke.expect is not None:
        check_field(answer, invoke.expect)
