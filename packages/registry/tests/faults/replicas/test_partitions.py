"""Replicas that can't reach each other, and one that reaches no service for a while."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from e2e.partition.site import (
    FAR,
    INTERVAL,
    NEAR,
    SERVICES,
    TIMEOUT,
    Replica,
    Site,
    own,
)
from faults.replicas.trial import BUSY, SECONDS

LASTS = max(12.0, min(SECONDS, 60.0))
CONFIRMED = 5 * (1.1 * INTERVAL + TIMEOUT) + BUSY
"""When a death that the cut-off replica should notice is confirmed by another: an
interval after the failures, and the other's own check (docs/health.md)."""

CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], 5000), 3)"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.close()


class Observer:
    """Asks all replicas in turn who is unhealthy, and times it."""

    def __init__(self, replicas: tuple[Replica, Replica, Replica]) -> None:
        self.first_told: dict[str, float] = {}
        self.slowest = 0.0
        self.answers = 0
        self._replicas = replicas

    def look(self, until: float, dead: Iterable[str] = ()) -> None:
        """Go on until a time (monotonic), or until all the dead were told."""
        while time.monotonic() < until and not self._all_told(dead):
            for replica in self._replicas:
                begun = time.monotonic()
                ids = replica.unhealthy()
                now = time.monotonic()
                self.slowest = max(self.slowest, now - begun)
                self.answers += 1
                for service_id in ids:
                    self.first_told.setdefault(service_id, now)
            threading.Event().wait(0.1)

    def _all_told(self, dead: Iterable[str]) -> bool:
        return bool(dead) and {*dead} <= self.first_told.keys()


def test_a_replica_that_reaches_no_service_misses_no_death(site: Site) -> None:
    one, two, three = site.start(confirm=2)
    # They never connect to each other, and here they can't: they meet in the store.
    command = two.host.command(sys.executable, "-c", CONNECT, one.host.address)
    assert subprocess.run(command, capture_output=True).returncode != 0
    observer = Observer((one, two, three))
    mine = {next(iter(own(one, NEAR))), next(iter(own(one, FAR)))}
    dead = {*mine, next(iter(own(three, NEAR)))}
    cut = time.monotonic()
    for network in (NEAR, FAR):
        site.cut_off(one, f"{network}.0/24")
    observer.look(cut + LASTS)
    assert observer.first_told == {}
    died = time.monotonic()
    for address in dead:
        site.services.die(address)
    observer.look(died + CONFIRMED, dead)
    for network in (NEAR, FAR):
        site.network.reconnect(one.host, f"{network}.0/24")
    mended = time.monotonic()
    observer.look(mended + LASTS)
    assert observer.first_told.keys() == dead
    times = sorted(f"{at - died:.1f} s" for at in observer.first_told.values())
    print(
        f"cut off from all {SERVICES} services for {mended - cut:.0f} s:"
        f" {len(dead)} deaths told after {', '.join(times)},"
        f" no false verdict; {observer.answers} answers,"
        f" the slowest after {observer.slowest:.2f} s"
    )
    assert one.get("/health")["status"] == "healthy"
    for number in range(SERVICES):
        address = f"{(NEAR, FAR)[number % 2]}.{1 + number // 2}"
        history = two.get(f"/api/services/{address}/history")["history"]
        told = [each["status"] for each in history].count("unhealthy")
        assert told == (address in dead), address
