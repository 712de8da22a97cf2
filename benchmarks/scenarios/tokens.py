"""What it costs to ask everybody for a token."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.harness import workload as w
from benchmarks.harness.comparison import compete, contender, one_provider
from benchmarks.harness.fill import fill_registry
from benchmarks.harness.plan import Plan
from benchmarks.harness.results import Row, at_least
from benchmarks.harness.systems import launch_registry
from modularity_registry import tokens
from modularity_registry.model.rights import Right, Wish


def shown(token: str) -> Callable[[str], bytes]:
    """Return what makes the call for a provider with this token."""
    header = f"Authorization: Bearer {token}\r\n\r\n".encode()

    def lookup(capability: str) -> bytes:
        return w.registry_lookup(capability).removesuffix(b"\r\n") + header

    return lookup


def guarded(plan: Plan) -> Row:
    """The same lookup with a token, and without any."""
    with plan.fleet() as fleet:
        path = Path(fleet.folder) / "tokens.json"
        wish = Wish("bench", frozenset({Right.READ}))
        shelf = tokens.FileShelf(str(path))
        token = tokens.create(shelf, wish, datetime.now(UTC)).text
        settings = {
            "REGISTRY_AUTH": "true",
            "REGISTRY_TOKENS_FILE": str(path),
            # To be filled and counted; what is measured shows its token.
            "REGISTRY_ANONYMOUS": "read,register",
        }
        names = list(w.drawn(w.capabilities(plan.services), plan.seed))
        field = []
        for system, env in (("open", {}), ("with a token", settings)):
            server = launch_registry(fleet, env=env, script=plan.registry)
            fill_registry(server.ready("/ready"), w.fleet(plan.services))
            call = shown(token) if env else w.registry_lookup
            field.append(contender(fleet, system, server, names, call, one_provider))
        series = compete(plan, fleet, field)
    check = at_least(series[1], series[0], 0.85)
    title = f"capability lookup with a token, {plan.services:,} services"
    return Row("guarded", title, tuple(series), (check,))
