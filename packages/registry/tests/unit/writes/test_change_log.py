"""Each change is in the log once, with why and by whom; so is what comes and goes."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from modularity_registry import config, runtime
from modularity_registry.api.app import create_app
from modularity_registry.model.service import Fault
from modularity_registry.runtime import Registry
from modularity_registry.stores.base import Lost, Snapshot
from modularity_registry.stores.memory import MemoryStore
from modularity_registry.telemetry import logs
from modularity_registry.telemetry.log_context import FIELDS
from support.logs import Log, through
from support.registry import (
    LOOP,
    ManualClock,
    deliver,
    eventually,
    loaded_registry,
    registration,
    unload,
)
from support.shared_memory_store import Handle

CHANGES = logging.getLogger("modularity_registry.changes")
# Its caller need not be on the same machine.
REMOTE = registration(location="http://10.0.0.1:9001")


@pytest.fixture
def changes(caplog: pytest.LogCaptureFixture) -> Callable[[], list[dict[str, Any]]]:
    """Return the lines about changes since the last call."""
    caplog.set_level(logging.DEBUG, CHANGES.name)

    def take() -> list[dict[str, Any]]:
        found = [
            {"event": record.getMessage(), "level": record.levelname}
            | getattr(record, FIELDS)
            for record in caplog.records
            if record.name == CHANGES.name
        ]
        caplog.clear()
        return found

    return take


Take = Callable[[], list[dict[str, Any]]]


def test_a_registration_is_logged_and_a_mere_repetition_only_at_debug(
    client: FlaskClient, clock: ManualClock, changes: Take
) -> None:
    for version, event, level in (
        ("1.0.0", "service registered", "INFO"),
        ("1.0.0", "service registered again", "DEBUG"),
        ("2.0.0", "service replaced", "INFO"),
    ):
        clock.advance(1)
        body = registration(version=version)
        revision = client.post("/api/register", json=body).json
        assert revision is not None
        assert changes() == [
            {
                "event": event,
                "level": level,
                "service_id": "hello-service",
                "revision": revision["revision"],
                "mode": "http",
                "location": "http://127.0.0.1:9001",
                "version": version,
            }
        ]


def test_what_changes_nothing_is_not_logged(client: FlaskClient, changes: Take) -> None:
    client.post("/api/register", json=registration())
    client.put("/api/services/hello-service/drain", json={"reason": "new version"})
    changes()
    client.put("/api/services/hello-service/drain", json={"reason": "new version"})
    client.post("/api/heartbeat/hello-service")
    client.post("/api/register", json={})
    client.delete("/api/services/nobody")
    assert changes() == []


def test_drains_are_logged_with_their_reason(
    client: FlaskClient, changes: Take
) -> None:
    client.post("/api/register", json=registration())
    changes()
    client.put("/api/services/hello-service/drain", json={"reason": "new version"})
    client.delete("/api/services/hello-service/drain")
    client.delete("/api/services/hello-service")
    drained, undrained, gone = changes()
    assert drained["event"] == "service drained"
    assert (drained["old_status"], drained["new_status"]) == ("healthy", "draining")
    assert drained["reason"] == "new version"
    assert undrained["event"] == "service undrained"
    assert (undrained["new_status"], undrained["revision"]) == ("healthy", 3)
    assert (gone["event"], gone["revision"]) == ("service unregistered", 4)


def test_splits_are_logged_with_their_weights(
    client: FlaskClient, changes: Take
) -> None:
    url = "/api/capabilities/greet/split"
    client.put(url, json={"v2": 1, "v1": 9})
    client.put(url, json={"v1": 9, "v2": 1})  # the same
    client.delete(url)
    first, second = changes()
    assert (first["event"], first["capability"]) == ("split changed", "greet")
    assert first["split"] == second["old_split"] == "v1=9 v2=1"
    assert (second["event"], second["level"]) == ("split ended", "INFO")


def test_verdicts_are_logged_with_who_found_what(
    registry: Registry, client: FlaskClient, changes: Take
) -> None:
    client.post("/api/register", json=registration(ttl=5))
    changes()
    entry = registry.catalog.service("hello-service")
    assert entry is not None
    now = registry.clock.now()
    registry.call(
        registry.commands.add_fault(entry, Fault("check", "connection refused", now))
    )
    registry.call(
        registry.commands.add_fault(entry, Fault("lease", "no heartbeat", now))
    )
    client.post("/api/heartbeat/hello-service", json={"status": "healthy"})
    registry.call(registry.commands.remove_faults(entry, frozenset({"check"})))
    registry.call(registry.commands.expire(entry))
    told = [
        (
            each["event"],
            each.get("new_status"),
            each.get("found_by"),
            each.get("reason"),
        )
        for each in changes()
    ]
    refused = "connection refused"
    assert told == [
        ("service status changed", "unhealthy", "check", refused),
        ("service faults changed", "unhealthy", "lease", f"{refused}; no heartbeat"),
        ("service faults changed", "unhealthy", "lease", refused),
        ("service status changed", "healthy", "check", f"over: {refused}"),
        ("service expired", None, None, "no heartbeat for 10 times its ttl of 5 s"),
    ]


def test_of_two_replicas_only_the_one_that_made_it_logs_a_change(
    tmp_path: Path, changes: Take
) -> None:
    store = f"sqlite:///{tmp_path}/registry.db"
    first, second = loaded_registry(store=store), loaded_registry(store=store)
    try:
        create_app(first).test_client().post("/api/register", json=registration())
        eventually(lambda: second.catalog.service("hello-service") is not None)
        assert [each["event"] for each in changes()] == ["service registered"]
    finally:
        for each in (first, second):
            unload(each)


@pytest.mark.parametrize("hot", [True, False])
def test_a_change_says_whose_request_it_was(registry: Registry, hot: bool) -> None:
    log = Log("json")
    CHANGES.addHandler(log.stream)
    CHANGES.setLevel(logging.INFO)
    trace = "0af7651916cd43dd8448eb211c80319c"
    try:
        through(registry, hot).post(
            "/api/register",
            json=REMOTE,
            headers={
                "X-Request-ID": "mine",
                "Traceparent": f"00-{trace}-{'b' * 16}-00",
            },
            environ_base={"REMOTE_ADDR": "10.0.0.9"},
        )
    finally:
        CHANGES.removeHandler(log.stream)
        CHANGES.setLevel(logging.NOTSET)
    found = (log.last["request_id"], log.last["peer"], log.last["trace_id"])
    assert found == ("mine", "10.0.0.9", trace)
    assert logs.current_request.get() is None


# What was lost and is back


def test_a_store_that_is_lost_and_back_is_logged_once_each(
    registry: Registry, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    deliver(registry, Lost("connection reset"))
    registry.view_health.check()
    clock.advance(3)
    deliver(registry, Snapshot((), 7))
    registry.view_health.check()
    assert [(each.levelname, each.getMessage()) for each in caplog.records] == [
        ("WARNING", "lost the connection to the store: connection reset"),
        ("WARNING", "the view may be out of date: connection reset"),
        ("INFO", "reconnected to the store, at revision 7"),
        ("INFO", "the view is current again after 3.0 s"),
    ]


def test_a_replica_that_is_lost_and_back_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    store, clock = MemoryStore(), ManualClock()
    one, other = (
        runtime.build(config.Settings(), clock, store=Handle(store), replica=name)
        for name in ("one", "other")
    )
    try:
        for each in (one, other):
            LOOP.call(each.feed.start())
            assert each.announcer is not None
            LOOP.call(each.announcer.announce())
        for announcing in ([one], [one], [one], [one, other]):
            clock.advance(2)
            for each in announcing:
                assert each.announcer is not None
                LOOP.call(each.announcer.announce())
            one.membership.find_lost()
        told = [each.getMessage() for each in caplog.records]
        assert told == [
            "replica other is lost; the others take over its services",
            "replica other is back",
        ]
    finally:
        for each in (one, other):
            LOOP.call(each.feed.stop())
