"""Servers that hold the services before anything is measured."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import mkdtemp

from benchmarks.harness import workload as w
from benchmarks.harness.http import get, pour
from benchmarks.harness.plan import Plan
from benchmarks.harness.processes import Fleet, Server, wait_until
from benchmarks.harness.results import BenchmarkError
from benchmarks.harness.systems import consul, etcd, launch_registry


def total(server: Server) -> int:
    """Return how many services the registry says it holds."""
    count: int = get(server.port, "/api/stats")["total_services"]
    return count


def sqlite_url(fleet: Fleet) -> str:
    """Return the address of a database that does not exist yet."""
    folder = Path(mkdtemp(prefix="sqlite-", dir=fleet.folder))
    return f"sqlite:///{folder}/registry.db"


def filled_registry(
    plan: Plan,
    fleet: Fleet,
    services: Iterable[w.Spec],
    store: str = "memory://",
) -> Server:
    """Return a registry that holds the services."""
    server = launch_registry(fleet, store, script=plan.registry).ready("/ready")
    fill_registry(server, services)
    return server


def fill_registry(server: Server, services: Iterable[w.Spec]) -> None:
    """Register the services, and see that as many more are there."""
    before = total(server)
    sent = pour(server.port, map(w.registry_register, services))
    if total(server) != before + sent:
        raise BenchmarkError(f"{total(server)} services of {before + sent} are there")


def filled_consul(fleet: Fleet, services: Sequence[w.Spec]) -> Server:
    """Return a Consul whose catalog holds the services."""
    server = consul(fleet, dev=False)
    pour(server.port, map(w.consul_register, services))
    names = {service.capability for service in services}

    def synced() -> bool:
        return names <= set(get(server.port, "/v1/catalog/services"))

    # The agent answers first and brings its services to the catalog afterwards.
    wait_until(synced, 300, "Consul's sync")
    return server


def filled_etcd(fleet: Fleet, services: Iterable[w.Spec]) -> Server:
    """Return an etcd that holds the services under their capabilities."""
    server = etcd(fleet)
    pour(server.port, map(w.etcd_register, services))
    return server
