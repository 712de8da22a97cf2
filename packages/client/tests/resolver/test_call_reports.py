"""How calls are reported: in batches, and one by one to an older registry."""

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from client_support.harness import (
    Answer,
    RegistryProcess,
    ScriptedServer,
    eventually,
    problem,
)
from client_support.services import register, service
from modularity_client import AsyncRegistry, Registry, Resolver
from modularity_client.http.transport import AsyncDriver
from modularity_client.resolver import call_reports
from modularity_client.resolver.call_reports import BATCH, CallReporter
from modularity_client.types.registry import CallReport

Scripted = Callable[..., ScriptedServer]

SINGLE, SEVERAL = "/api/track/invocation", "/api/track/invocations"
ONE_RECORDED = Answer(200, {"message": "Invocation tracked"})


def recorded(number: int, *unknown: str) -> Answer:
    fields = {"status": "ok", "message": "m"}
    return Answer(200, {**fields, "recorded": number, "unknown": unknown})


def report(number: int) -> CallReport:
    return CallReport(
        consumer_id="a",
        provider_id=f"b{number}",
        capability="x",
        success=True,
        latency_ms=1.0,
    )


def sent(server: ScriptedServer) -> list[tuple[str, list[str]]]:
    """Return the path of each request, and the providers in it."""
    bodies = [(each.target, json.loads(each.body)) for each in server.requests]
    return [
        (path, [one["provider_id"] for one in body.get("invocations", [body])])
        for path, body in bodies
    ]


def flush(server: ScriptedServer, *reports: range) -> int:
    """Report so many calls, one range after the other; return how many were lost."""

    async def main() -> int:
        driver = AsyncDriver(AsyncRegistry(server.url).settings)
        reporter = CallReporter(driver, lambda delay, call: None)
        for each in reports:
            for number in each:
                reporter.add(report(number))
            await reporter.flush()
        await driver.close()
        return reporter.dropped

    return asyncio.run(main())


def ids(numbers: range) -> list[str]:
    return [f"b{number}" for number in numbers]


def test_calls_are_reported_in_batches(scripted: Scripted) -> None:
    server = scripted(recorded(BATCH), recorded(2, "b501"))
    assert flush(server, range(BATCH + 3)) == 1
    assert sent(server) == [
        (SEVERAL, ids(range(BATCH))),
        (SEVERAL, ids(range(BATCH, BATCH + 3))),
    ]
    assert json.loads(server.requests[0].body)["invocations"][0] == report(0)


@pytest.mark.parametrize("status", [404, 405])
def test_an_older_registry_gets_each_call_by_itself(
    scripted: Scripted, status: int
) -> None:
    no_such_call = problem(status, "not_found" if status == 404 else "")
    refused = problem(404, "service_not_found")
    server = scripted(no_such_call, ONE_RECORDED, refused, ONE_RECORDED)
    assert flush(server, range(3), range(3, 5)) == 1
    singly = [(SINGLE, [provider]) for provider in ids(range(5))]
    assert sent(server) == [(SEVERAL, ids(range(3))), *singly]


def test_an_older_registry_that_was_replaced_gets_batches_again(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call_reports, "UPGRADE", 0.0)
    server = scripted(problem(404, "not_found"), recorded(3))
    assert flush(server, range(3)) == 0
    assert sent(server) == [(SEVERAL, ids(range(3)))] * 2


def test_a_malformed_report_does_not_cost_the_others(scripted: Scripted) -> None:
    errors = [{"field": f"invocations.{n}.capability", "message": "m"} for n in (1, 3)]
    malformed = problem(400, "invalid_request", errors=errors)
    server = scripted(malformed, recorded(3))
    assert flush(server, range(5)) == 2
    assert sent(server)[1:] == [(SEVERAL, ["b0", "b2", "b4"])]


@pytest.mark.parametrize("named", [range(0), range(5)], ids=["none", "all"])
def test_reports_that_are_all_refused_are_dropped(
    scripted: Scripted, named: range
) -> None:
    errors = [{"field": f"invocations.{n}.consumer_id", "message": "m"} for n in named]
    server = scripted(problem(400, "invalid_request", errors=errors))
    assert flush(server, range(5)) == 5
    assert len(server.requests) == 1


def test_calls_that_may_not_be_reported_are_told_of_once(
    scripted: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    server = scripted(problem(403, "forbidden"))
    assert flush(server, range(5), range(5)) == 10
    assert len(server.requests) == 2
    warnings = [
        row.getMessage() for row in caplog.records if row.levelno > logging.INFO
    ]
    assert len(warnings) == 1 and "track" in warnings[0]


def test_what_a_resolver_reports_is_in_the_graph(
    shared: RegistryProcess, resolving: Callable[..., Resolver], name: str
) -> None:
    register(shared, name, name)
    resolver = resolving(shared.url, name, consumer_id=f"caller-of-{name}")
    resolver.start()
    provider = resolver.resolve(name)
    for _ in range(20):
        resolver.track(provider, name, True, 2.0)
    resolver.track(service("nobody"), name, False)
    with Registry(shared.url) as client:

        def counts() -> list[Any]:
            connections = client.connections(name).providing
            return [(each.request_count, each.success_rate) for each in connections]

        eventually(lambda: counts() == [(20, 1.0)])
