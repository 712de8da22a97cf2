"""Lookups as callers make them, and beside callers whose calls are heavier."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from statistics import median

from benchmarks.harness import workload
from benchmarks.harness.comparison import (
    Measure,
    SystemUnderTest,
    compare,
    lookups,
    measure_system,
    system_under_test,
    take_turns,
)
from benchmarks.harness.http import Reply, request
from benchmarks.harness.plan import Plan
from benchmarks.harness.processes import Fleet
from benchmarks.harness.results import (
    BenchmarkError,
    Check,
    Row,
    Sample,
    at_least,
    at_least_baseline,
)
from benchmarks.load.wrk import cycle_script, wrk
from modularity_registry import tokens
from modularity_registry.model.rights import Right, TokenRequest

USUAL_HEADERS = (
    "User-Agent: python-requests/2.32.5\r\nAccept: application/json\r\n"
    "Accept-Encoding: gzip, deflate\r\nAccept-Language: en\r\n"
    "Connection: keep-alive\r\n"
)
# A filter that all providers pass.
QUERY = "?strategy=random&metadata.team=checkout"


def callers(plan: Plan) -> Row:
    """The lookup with usual headers, with a token, and with a strategy and a filter."""
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
        ask = workload.registry_lookup
        bearer = f"Authorization: Bearer {token.text}\r\n"
        with_token = partial(ask, headers=bearer)
        systems = []
        for version in plan.versions():
            plain = lookups(version, fleet, "plain", plan.services)
            load = (plain.server, plain.keys)
            systems.append(plain)
            for name, request_for in (
                ("five headers", partial(ask, headers=USUAL_HEADERS)),
                ("strategy, filter", partial(ask, query=QUERY)),
            ):
                name, kind = name + version.mark, (request_for, plain.verify)
                systems.append(system_under_test(fleet, name, *load, *kind))
            count = plan.services
            systems.append(lookups(version, fleet, "token", count, with_token, auth))
        series = compare(plan, fleet, systems)
    by_name = {one.system: one for one in series}
    targets = {"five headers": 0.9, "token": 0.85, "strategy, filter": 0.6}
    checks = [at_least(by_name[n], by_name["plain"], t) for n, t in targets.items()]
    title = f"capability lookup by its callers, {plan.services:,} services"
    return Row("callers", title, tuple(series), tuple(checks))


def lists(plan: Plan) -> Row:
    """Lookups beside a caller who reads a long list in a loop, against none."""
    measures: dict[str, Measure] = {}
    many = plan.many_services
    read: dict[str, list[float]] = {}
    with plan.fleet() as fleet:
        for version in plan.versions():
            alone = lookups(version, fleet, "no reader", many)
            name = f"a reader{version.mark}"
            rates = read.setdefault(name, [])
            measures[alone.name] = partial(measure_system, plan, fleet, alone)
            measures[name] = partial(_beside_reader, plan, fleet, alone, rates)
        series = take_turns(plan.repeats, measures)
    p99 = tuple(sample.p99 or 0.0 for sample in series[1].samples)
    check = Check("p99 beside a reader", p99, 15, "less", "ms")
    notes = tuple(
        f"{name} got {median(rates):,.0f} MB a second" for name, rates in read.items()
    )
    title = f"capability lookup beside a reader of a list of {many:,}"
    return Row("lists", title, tuple(series), (check,), notes)


def _beside_reader(
    plan: Plan, fleet: Fleet, system: SystemUnderTest, megabytes: list[float]
) -> Sample:
    """Return the lookups' sample; add what the reader got a second."""
    path = fleet.folder / f"list-{system.server.port}.lua"
    script = cycle_script(path, [request("GET", "/api/services")])
    with ThreadPoolExecutor() as pool:
        seconds = plan.warmup + plan.seconds + 1
        reader = pool.submit(wrk, system.server.port, script, seconds, 1)
        sample = measure_system(plan, fleet, system)
        load = reader.result()
    megabytes.append(load.requests * load.reply_bytes / load.seconds / 1e6)
    return sample


def flask(plan: Plan) -> Row:
    """A route of Flask, which the fast path does not answer."""

    def counted(reply: Reply, _key: str) -> None:
        if reply.json()["total_services"] != plan.services:
            raise BenchmarkError(f"wrong figures: {reply.body[:200]!r}")

    def stats(_key: str) -> bytes:
        return request("GET", "/api/stats")

    with plan.fleet() as fleet:
        systems = []
        for version in plan.versions():
            server = lookups(version, fleet, "filled", plan.services).server
            name = f"stats{version.mark}"
            systems.append(
                system_under_test(fleet, name, server, ("",) * 50, stats, counted)
            )
        series = compare(plan, fleet, systems)
    notes = () if plan.against else ("its target needs --against",)
    checks = at_least_baseline(series, "stats", 0.6)
    title = f"GET /api/stats, {plan.services:,} services"
    return Row("flask", title, tuple(series), checks, notes)
