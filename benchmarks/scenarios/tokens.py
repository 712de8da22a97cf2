"""What it costs to require a token of every caller."""

from collections.abc import Callable
from datetime import UTC, datetime

from benchmarks.harness import workload
from benchmarks.harness.comparison import compare, one_provider, system_under_test
from benchmarks.harness.fill import fill_registry
from benchmarks.harness.plan import Plan
from benchmarks.harness.results import Row, at_least
from benchmarks.harness.systems import start_registry
from modularity_registry import tokens
from modularity_registry.model.rights import Right, TokenRequest


def lookup_with(token: str) -> Callable[[str], bytes]:
    """Return a function that makes lookups with this token."""
    header = f"Authorization: Bearer {token}\r\n\r\n".encode()

    def lookup(capability: str) -> bytes:
        return workload.registry_lookup(capability).removesuffix(b"\r\n") + header

    return lookup


def guarded(plan: Plan) -> Row:
    """The same lookup with a token and without."""
    with plan.fleet() as fleet:
        path = str(fleet.folder / "tokens.json")
        token_request = TokenRequest("bench", frozenset({Right.READ}))
        token = tokens.create(
            tokens.FileTokenBackend(path), token_request, datetime.now(UTC)
        )
        auth = {
            "REGISTRY_AUTH": "true",
            "REGISTRY_TOKENS_FILE": path,
            # Filling and counting need no token; the measured lookups send one.
            "REGISTRY_ANONYMOUS": "read,register",
        }
        keys = list(workload.draw(workload.capabilities(plan.services), plan.seed))
        systems = []
        for name, env, lookup in (
            ("open", {}, workload.registry_lookup),
            ("with a token", auth, lookup_with(token.text)),
        ):
            server = start_registry(plan, fleet, env=env)
            fill_registry(server, workload.services(plan.services))
            systems.append(
                system_under_test(fleet, name, server, keys, lookup, one_provider)
            )
        series = compare(plan, fleet, systems)
    check = at_least(series[1], series[0], 0.85)
    title = f"capability lookup with a token, {plan.services:,} services"
    return Row("guarded", title, tuple(series), (check,))
