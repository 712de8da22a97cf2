"""The parts of Consul's API that decide by themselves: ids, durations, filters."""

import json
import re
import time
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modularity_registry.errors import InvalidRequest, RegistryError
from modularity_registry.integrations.consul import names
from modularity_registry.integrations.consul.departures import Departures
from modularity_registry.integrations.consul.reads import filters, options, selectors
from modularity_registry.integrations.consul.tracker import Tracker
from modularity_registry.integrations.consul.writes import registration
from modularity_registry.integrations.consul.writes.checks import name_of
from modularity_registry.integrations.consul.writes.fields import decoded, duration
from modularity_registry.integrations.consul.writes.registration import Caller
from modularity_registry.integrations.consul.writes.succession import (
    Statuses,
    succession,
)
from modularity_registry.runtime import Registry
from modularity_registry.schema import CheckReport
from modularity_registry.schema.patterns import CHECK_NAME_PATTERN
from support.loops import soon
from support.registry import LOOP, ManualClock, on_loop

ROW: dict[str, Any] = {
    "Node": {"Node": "n", "Meta": {}},
    "Service": {
        "ID": "web1",
        "Tags": ["a", "b"],
        "Meta": {"k": "v"},
        "Port": 80,
        "Weights": {"Passing": 3},
        "EnableTagOverride": False,
    },
    "Checks": [{"Status": "passing"}, {"Status": "critical"}],
}


@given(st.text(min_size=1, max_size=20))
def test_every_id_comes_back(text: str) -> None:
    try:
        found = names.service_id(text)
    except InvalidRequest:
        assert len(text.encode(errors="replace")) * 3 > 100
        return
    assert names.original(found) == text.encode(errors="replace").decode()


def test_ids_that_the_registry_takes_stay_as_they_are() -> None:
    assert names.service_id("web-1:a_b.c") == "web-1:a_b.c"
    assert names.service_id("a b/c") == "consul:a:20b:2Fc"
    assert names.capability("a/b") == "a/b"
    assert names.service_id("web\n") == "consul:web:0A"
    assert names.capability("web\n") == "consul:web:0A"
    assert names.original("consul:abc") == "consul:abc"
    assert names.original(names.service_id("consul:abc")) == "consul:abc"


@given(st.text(max_size=100))
@example("up\n")
def test_a_check_has_a_name_that_the_registry_takes(text: str) -> None:
    assert re.fullmatch(CHECK_NAME_PATTERN.strip("^$"), name_of(text))
    assert name_of(text) == name_of(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10s", 10),
        ("1m30s", 90),
        ("1.5h", 5400),
        ("300ms", 0.3),
        ("-2s", -2),
        ("0", 0),
        ("120000ms", 120),
        ("5", None),
        ("", None),
        ("s", None),
        ("1x", None),
        ("1s ", None),
        ("9" * 100 + "s", None),
    ],
)
def test_durations(text: str, seconds: float | None) -> None:
    found = duration(text)
    assert found == seconds or found == pytest.approx(seconds)


def test_a_wait_is_bounded() -> None:
    assert options.of((("wait", "99h"),)).wait == 600
    assert options.of(()).wait == 300
    assert 300 <= options.of(()).seconds <= 319


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("Service.ID == web1", True),
        ("Service.ID != web1", False),
        ("Service.Tags contains a and not Service.Tags contains c", True),
        ("c in Service.Tags or (Service.Port == 80 and k in Service.Meta)", True),
        ("Service.Meta.k == `v`", True),
        ('Service.Meta["k"] != "v"', False),
        ("Service.Meta.none == v", False),
        ("Service.Meta.none != v", True),
        ("Checks.Status == critical", True),
        ("not Checks.Status == warning", True),
        ("Checks is empty", False),
        ("Checks is not empty", True),
        ("Node.Meta is empty", True),
        ("Service.Weights.Passing == 3", True),
        ("Service.EnableTagOverride == true", False),
        ("Service.ID matches `^web[0-9]$`", True),
        ("Service.ID not matches `^web[0-9]$`", False),
        ("not not not Service.ID == web1", False),
        ("Service.ID==web1", True),
    ],
)
def test_filters(text: str, passes: bool) -> None:
    assert filters.parsed(text, selectors.HEALTH)(ROW) is passes


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "Service.ID",
        "Service.ID ==",
        "Service.ID == a b",
        "Service.ID == a and",
        "(Service.ID == a",
        "Service.ID == a)",
        "Bogus == a",
        "Service.Bogus == a",
        "Service.Tags == a",
        "Service.Tags.a == b",
        "Service.Meta == a",
        "Service == a",
        "Service.Port == a",
        "Service.Port == 99999999999999999999",
        "Service.EnableTagOverride == x",
        "Service.ID is empty",
        "a in Checks",
        "Service.ID matches `[`",
        "Service.ID == `a",
        "; drop",
        "Service.ID matches `" + "a" * 1000 + "`",
        "Service.ID == a or " * 100 + "Service.ID == a",
        "(" * 50 + "Service.ID == a" + ")" * 50,
        "x" * 10_000,
        "not " * 5_000 + "Service.ID == a",
    ],
)
def test_filters_that_are_wrong_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        filters.parsed(text, selectors.HEALTH)


@given(st.text(max_size=200))
def test_no_text_makes_a_filter_fail(text: str) -> None:
    try:
        filters.parsed(text, selectors.HEALTH)(ROW)
    except InvalidRequest:
        return


def test_a_pattern_takes_time_in_step_with_what_it_looks_at() -> None:
    passes = filters.parsed("Service.ID matches `^(a+)+$`", selectors.HEALTH)
    long = {"Service": {"ID": "a" * 20_000 + "b"}}
    began = time.monotonic()
    assert not passes(long)
    assert time.monotonic() - began < 1.0


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "port", "check", "checks", "tags", "meta", "ttl"])
            | st.text(max_size=3),
            inner,
            max_size=4,
        ),
        max_leaves=8,
    )
)
def test_no_body_makes_a_registration_fail(body: Any) -> None:
    try:
        fields = decoded(json.dumps(body).encode())
        registration.of_agent(fields, Caller("127.0.0.1", True, "127.0.0.1"))
    except RegistryError:
        return


def test_a_service_goes_when_its_check_is_critical_for_too_long(
    registry: Registry, clock: ManualClock
) -> None:
    check = {"TTL": "60s", "DeregisterCriticalServiceAfter": "2m"}
    body = {"Name": "web", "Address": "10.0.0.5", "Port": 80, "Check": check}
    fields = decoded(json.dumps(body).encode())
    asked = registration.of_agent(fields, Caller("127.0.0.1", True, "127.0.0.1"))
    tracker = Tracker(registry.catalog)
    on_loop(lambda: registry.feed.listen(tracker))
    departures = Departures(registry, tracker)

    def register() -> None:
        statuses = Statuses(asked.statuses)
        job = registry.commands.register(
            asked.registration, True, succeed=succession(statuses)
        )
        LOOP.call(job)

    def look() -> bool:
        LOOP.call(departures.look())
        return registry.catalog.service("web") is not None

    def report(status: str) -> None:
        entry = registry.catalog.require("web")
        name = entry.service.registration.checks[0].name
        found: Any = CheckReport(status)  # type: ignore[arg-type]
        LOOP.call(registry.commands.report_check("web", name, found))

    register()
    assert look()
    clock.advance(119)
    assert look()
    report("healthy")
    clock.advance(10)
    assert look()  # it has passed in between: its time begins again
    report("unhealthy")
    assert look()
    clock.advance(119)
    assert look()
    clock.advance(2)
    assert not look()
    assert departures.unregistered == 1
    assert tracker.leaving == {}


def test_departures_end_when_they_are_stopped(registry: Registry) -> None:
    looks = 0

    class Counted(Departures):
        async def look(self) -> None:
            nonlocal looks
            looks += 1

    async def run() -> None:
        departures = Counted(registry, Tracker(registry.catalog), period=0.001)
        departures.start()
        task = departures._task
        await soon(lambda: looks > 1)
        await departures.stop()
        assert task is not None and task.cancelled()
        await departures.stop()

    LOOP.call(run())
