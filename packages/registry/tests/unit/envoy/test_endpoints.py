"""Endpoints: health, weights, priorities and localities of a capability's providers."""

from typing import Any

import pytest
from envoy.config.core.v3.health_check_pb2 import HealthStatus
from envoy.config.endpoint.v3.endpoint_pb2 import (
    ClusterLoadAssignment,
)

from modularity_registry.catalog.zones import Place
from modularity_registry.integrations.envoy.resources.endpoints import (
    assignment,
)
from modularity_registry.model.location import Location
from unit.envoy.entries import entry

NOWHERE = Place("")


def addresses(location: Location) -> tuple[str, ...]:
    known = {"two.test": ("10.0.0.8", "fd00::8")}
    if location.address is not None:
        return (location.host,)
    return known.get(location.host, ())


def assigned(*entries: Any, place: Place = NOWHERE) -> ClusterLoadAssignment:
    return assignment("c", entries, place, addresses, 0.7)


def health(message: ClusterLoadAssignment) -> dict[int, str]:
    """Return the health of each endpoint, by its port."""
    return {
        each.endpoint.address.socket_address.port_value: HealthStatus.Name(
            each.health_status
        )
        for locality in message.endpoints
        for each in locality.lb_endpoints
    }


def priorities(message: ClusterLoadAssignment) -> dict[str, int]:
    """Return the priority of each zone."""
    return {each.locality.zone: each.priority for each in message.endpoints}


def test_each_status_has_its_word() -> None:
    message = assigned(
        entry("a", port=1),
        entry("b", port=2, status="warning"),
        entry("c", port=3, status="unhealthy"),
        entry("d", port=4, status="draining"),
    )
    assert health(message) == {
        1: "HEALTHY",
        2: "DEGRADED",
        3: "UNHEALTHY",
        4: "DRAINING",
    }


def test_who_warns_is_healthy_where_nobody_is() -> None:
    message = assigned(
        entry("a", port=1, status="warning"), entry("b", port=2, status="unhealthy")
    )
    assert health(message) == {1: "HEALTHY", 2: "UNHEALTHY"}


@pytest.mark.parametrize("status", ["unhealthy", "draining"])
def test_with_nobody_to_call_there_are_no_endpoints(status: str) -> None:
    message = assigned(entry("a", status=status))
    assert message.cluster_name == "c"
    assert not message.endpoints


def test_priorities_have_no_holes_and_come_before_zones() -> None:
    message = assigned(
        entry("a", zone="z1", region="eu", priority=7),
        entry("b", zone="z2", region="eu", priority=3),
        entry("c", zone="z3", region="us", priority=3),
        entry("d", zone="z4", region="us", priority=9),
        place=Place("z1", "eu"),
    )
    assert priorities(message) == {"z2": 0, "z3": 1, "z1": 2, "z4": 3}


def test_the_callers_zone_comes_first_then_its_region() -> None:
    entries = (
        entry("a", zone="z1", region="eu"),
        entry("b", zone="z2", region="eu"),
        entry("c", zone="z3", region="us"),
    )
    near = assigned(*entries, place=Place("z1", "eu"))
    assert priorities(near) == {"z1": 0, "z2": 1, "z3": 2}
    assert priorities(assigned(*entries)) == {"z1": 0, "z2": 0, "z3": 0}


def test_a_locality_weighs_what_its_endpoints_weigh_that_may_get_calls() -> None:
    message = assigned(
        entry("a", zone="z1", weight=3),
        entry("b", zone="z1", weight=4, status="unhealthy"),
        entry("c", zone="z2", weight=2),
        entry("d", zone="z3", status="unhealthy"),
    )
    weights = {
        each.locality.zone: each.load_balancing_weight.value
        for each in message.endpoints
        if each.HasField("load_balancing_weight")
    }
    assert weights == {"z1": 3, "z2": 2}


def test_a_weight_of_0_gets_calls_only_if_there_are_no_others() -> None:
    light, heavy = entry("a", port=1, weight=0), entry("b", port=2, weight=5)
    assert set(health(assigned(light, heavy))) == {2}
    assert set(health(assigned(light))) == {1}
    (locality,) = assigned(light).endpoints
    assert locality.lb_endpoints[0].load_balancing_weight.value == 1


def test_a_host_name_becomes_its_addresses() -> None:
    message = assigned(entry("a", host="two.test"), entry("b", host="none.test"))
    (locality,) = message.endpoints
    (endpoint,) = locality.lb_endpoints
    assert endpoint.endpoint.hostname == "two.test:80"
    assert endpoint.endpoint.address.socket_address.address == "10.0.0.8"
    (other,) = endpoint.endpoint.additional_addresses
    assert other.address.socket_address.address == "fd00::8"


def test_an_address_of_ipv6_has_no_brackets() -> None:
    (locality,) = assigned(entry("a", host="[fd00::5]")).endpoints
    endpoint = locality.lb_endpoints[0].endpoint
    assert endpoint.address.socket_address.address == "fd00::5"


def test_who_can_not_be_called_from_elsewhere_is_left_out() -> None:
    assert not assigned(entry("a", mode="embedded")).endpoints


def test_https_is_said_of_the_endpoint() -> None:
    message = assigned(entry("a", scheme="https", port=1), entry("b", port=2))
    (locality,) = message.endpoints
    secure, plain = locality.lb_endpoints
    match = secure.metadata.filter_metadata["envoy.transport_socket_match"]
    assert match["scheme"] == "https"
    assert not plain.metadata.filter_metadata


def test_the_factor_follows_the_share_that_a_zone_needs() -> None:
    def factor(threshold: float) -> int:
        message = assignment("c", (), NOWHERE, addresses, threshold)
        value: int = message.policy.overprovisioning_factor.value
        return value

    assert [factor(share) for share in (0.7, 1, 0.5, 0)] == [143, 100, 200, 10_000]
