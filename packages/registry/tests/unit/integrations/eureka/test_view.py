"""What the view says of services, and what a delta tells, for how long."""

from collections.abc import Iterator
from typing import Any

import pytest

from modularity_registry import schema
from modularity_registry.integrations.eureka.view import KEPT, View
from modularity_registry.runtime import Registry
from support.registry import (
    LOOP,
    ManualClock,
    loaded_registry,
    on_loop,
    registration,
    unload,
)


@pytest.fixture
def registry() -> Iterator[Registry]:
    registry = loaded_registry()
    yield registry
    unload(registry)


@pytest.fixture
def view(registry: Registry) -> View:
    view = View(registry.catalog, registry.clock.monotonic)
    on_loop(lambda: registry.feed.listen(view))
    return view


def register(registry: Registry, service_id: str, **changes: Any) -> None:
    body = schema.encode(registration(service_id, **changes))
    LOOP.call(registry.commands.register(schema.parse_registration(body), True))


def unregister(registry: Registry, service_id: str) -> None:
    LOOP.call(registry.commands.unregister(service_id))


def told(view: View) -> list[tuple[str, str, str]]:
    return [(c.instance.app, c.instance.instance_id, c.action) for c in view.changes()]


def test_a_delta_has_the_last_change_of_each_instance(
    registry: Registry, view: View
) -> None:
    register(registry, "a")
    register(registry, "b")
    register(registry, "a", version="2")

    assert told(view) == [("GREET", "b", "ADDED"), ("GREET", "a", "MODIFIED")]
    unregister(registry, "b")
    assert told(view)[-1] == ("GREET", "b", "DELETED")


def test_a_delta_forgets_after_three_minutes(registry: Registry, view: View) -> None:
    clock = registry.clock
    assert isinstance(clock, ManualClock)
    register(registry, "a")
    clock.advance(KEPT - 1)
    register(registry, "b")
    clock.advance(2)

    assert told(view) == [("GREET", "b", "ADDED")]


def test_applications_that_are_gone_come_last(registry: Registry, view: View) -> None:
    register(registry, "a", capabilities=["gone"])
    register(registry, "b")
    register(registry, "a", capabilities=["other"])
    unregister(registry, "b")
    register(registry, "c", capabilities=["new"])

    assert [app for app, _, _ in told(view)][:2] == ["OTHER", "NEW"]
    assert {action for _, _, action in told(view)[2:]} == {"DELETED"}


def test_the_hash_counts_instances_by_status(registry: Registry, view: View) -> None:
    register(registry, "a", capabilities=["x", "y"])
    register(registry, "b")
    LOOP.call(registry.commands.drain("b", "for repair"))
    assert view.hash() == "OUT_OF_SERVICE_1_UP_2_"

    unregister(registry, "a")
    unregister(registry, "b")
    assert (view.hash(), view.applications) == ("", {})


def test_a_view_that_starts_later_has_all_services(registry: Registry) -> None:
    for number in range(3):
        register(registry, f"s{number}")
    late = View(registry.catalog, registry.clock.monotonic)

    LOOP.call(late.load())

    assert late.hash() == "UP_3_"
    assert {action for _, _, action in told(late)} == {"ADDED"}


@pytest.mark.parametrize(
    "kept",
    [
        "text",
        {},
        {"app": 1},
        {"app": "A", "instanceId": {}},
        {"app": "A", "instanceId": "i", "vipAddress": [1], "port": "x", "leaseInfo": 7},
    ],
)
def test_metadata_that_only_looks_kept_harms_nobody(
    registry: Registry, view: View, kept: Any
) -> None:
    from modularity_registry.integrations.eureka.lists import Format, instance_document

    register(registry, "a", metadata={"eureka": kept, "$": 1, "@x": None, "": []})

    for application in view.applications.values():
        for instance in application.instances.values():
            for form in Format:
                assert instance_document(instance, form)
