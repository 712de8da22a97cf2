"""Three replicas over one store; one of them is cut off from half of the services."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.partition.site import FAR, NEAR, SERVICES, Replica, Site, own
from support.registry import eventually


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.close()


def are_held(replica: Replica) -> bool:
    """Say whether every service out of reach is one whose verdict is held back."""
    states = [
        evidence.get("second_opinion", {}).get("state")
        for evidence in own(replica, FAR).values()
    ]
    assert "alone" not in states
    return len(states) > 10 and set(states) == {"held"}


def test_a_replica_that_is_cut_off_takes_nobody_for_dead(site: Site) -> None:
    one, two, three = site.start(confirm=2)
    site.cut_off(one, f"{FAR}.0/24")
    eventually(lambda: are_held(one), 120)
    evidence = next(iter(own(one, FAR).values()))
    replicas = [each.get("/health")["replica"] for each in (one, two, three)]
    assert evidence["outcome"] == "timeout"
    assert evidence["second_opinion"]["message"] == (
        f"unreachable from replica {replicas[0]},"
        f" reachable from {', '.join(sorted(replicas[1:]))}"
    )
    assert "to connect from this replica" in one.get("/health")["reasons"][-1]
    assert two.unhealthy() == set()
    # One that the cut-off replica reaches, one that it doesn't, both its own; and one
    # of another replica.
    dead = {next(iter(own(one, NEAR))), next(iter(own(one, FAR)))}
    dead.add(next(iter(own(three, FAR))))
    for address in dead:
        site.services.die(address)
    eventually(lambda: two.unhealthy() == dead, 60)
    eventually(lambda: are_held_but(one, dead), 60)
    for number in range(SERVICES):
        address = f"{(NEAR, FAR)[number % 2]}.{1 + number // 2}"
        history = two.get(f"/api/services/{address}/history")["history"]
        statuses = {verdict["status"] for verdict in history}
        assert ("unhealthy" in statuses) == (address in dead), address


def are_held_but(replica: Replica, dead: set[str]) -> bool:
    """Say whether all but the dead are still held back."""
    return all(
        evidence.get("second_opinion", {}).get("state") == "held"
        for address, evidence in own(replica, FAR).items()
        if address not in dead
    )


def test_without_a_second_opinion_it_does(site: Site) -> None:
    one, two, _ = site.start(confirm=1)
    # Less than half of its hosts, or it would doubt itself.
    site.cut_off(one, f"{FAR}.0/26")
    eventually(lambda: bool(two.unhealthy()), 60)
    assert two.unhealthy() <= own(one, FAR).keys()
