"""Fills servers with services before anything is measured."""

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import mkdtemp

from benchmarks.harness import workload
from benchmarks.harness.http import get, send_all
from benchmarks.harness.plan import Plan
from benchmarks.harness.processes import Fleet, Server, wait_until
from benchmarks.harness.results import BenchmarkError, Sample
from benchmarks.harness.systems import consul, etcd, start_registry
from benchmarks.harness.workload import Service


def total_services(server: Server) -> int:
    """Return how many services the registry says it holds."""
    count: int = get(server.port, "/api/stats")["total_services"]
    return count


def sqlite_url(fleet: Fleet) -> str:
    """Return the URL of a database that does not exist yet."""
    folder = Path(mkdtemp(prefix="sqlite-", dir=fleet.folder))
    return f"sqlite:///{folder}/registry.db"


def filled_registry(
    plan: Plan, fleet: Fleet, services: Iterable[Service], url: str = "memory://"
) -> Server:
    """Return a new registry that holds the services."""
    server = start_registry(plan, fleet, url)
    fill_registry(server, services)
    return server


def fill_registry(server: Server, services: Iterable[Service]) -> None:
    """Register the services; raises unless the registry then holds as many more."""
    before = total_services(server)
    sent = send_all(server.port, map(workload.registry_register, services))
    if (total := total_services(server)) != before + sent:
        raise BenchmarkError(f"the registry holds {total} of {before + sent} services")


def fill_store(plan: Plan, fleet: Fleet, services: Iterable[Service], url: str) -> None:
    """Write the services to a store, through a registry that is stopped afterwards."""
    with fleet.stopping(filled_registry(plan, fleet, services, url), graceful=True):
        pass


def time_to_ready(plan: Plan, fleet: Fleet, url: str, count: int) -> Sample:
    """Return the seconds from starting a registry to its /ready.

    Raises `BenchmarkError` unless it then holds ``count`` services.
    """
    began = time.perf_counter()
    server = start_registry(plan, fleet, url)
    seconds = time.perf_counter() - began
    with fleet.stopping(server, graceful=True):
        if (total := total_services(server)) != count:
            raise BenchmarkError(f"ready with {total} of {count:,} services")
    return Sample(seconds)


def filled_consul(fleet: Fleet, services: Sequence[Service]) -> Server:
    """Return a Consul whose catalog holds the services."""
    server = consul(fleet, dev=False)
    send_all(server.port, map(workload.consul_register, services))
    names = {service.capability for service in services}

    def synced() -> bool:
        return names <= set(get(server.port, "/v1/catalog/services"))

    # The agent answers first, and syncs its services to the catalog afterwards.
    wait_until(synced, 300, "Consul's sync to its catalog")
    return server


def filled_etcd(fleet: Fleet, services: Iterable[Service]) -> Server:
    """Return an etcd that holds the services under their capabilities."""
    server = etcd(fleet)
    send_all(server.port, map(workload.etcd_register, services))
    return server
