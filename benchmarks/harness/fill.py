"""Fills servers with services before anything is measured."""

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from kazoo.client import KazooClient  # type: ignore[import-untyped]  # has no types

from benchmarks.harness import workload
from benchmarks.harness.http import get, in_batches, send_all
from benchmarks.harness.plan import Plan
from benchmarks.harness.processes import START_LIMIT, Fleet, Server
from benchmarks.harness.results import BenchmarkError, Sample
from benchmarks.harness.systems import consul, etcd, start_registry
from benchmarks.harness.workload import PER_CAPABILITY, Service
from modularity_registry.catalog import documents
from modularity_registry.clock import SystemClock
from modularity_registry.errors import StoreError
from modularity_registry.model.service import Service as Registered
from modularity_registry.schema.parse import parse_registration
from modularity_registry.stores import open_store
from modularity_registry.stores.base import Write, batches

# Services in one request, and requests under way at once. etcd takes 128 operations.
CONSUL_BATCH, ETCD_BATCH, WRITERS = 64, 100, 8
ZOOKEEPER_ROOT = "/services"
# It warns of every connection that is closed.
logging.getLogger("kazoo").setLevel(logging.ERROR)


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


def fill_store(services: Iterable[Service], url: str) -> None:
    """Write new services to a store, as a registry would.

    The store's own code writes them, in its largest batches: as requests to a registry
    it takes several times as long.
    """
    now = SystemClock().now()

    def write(service: Service) -> Write:
        registration = parse_registration(workload.registry_body(service).encode())
        document = documents.encode(Registered(registration, now, now))
        return Write(documents.key_of(registration.id), document, 0)

    try:
        with closing(open_store(url)) as store:
            for batch in batches(map(write, services)):
                for outcome in store.commit(batch):
                    if not isinstance(outcome, int):
                        raise BenchmarkError(f"{url} refused a service: {outcome}")
    except StoreError as error:
        raise BenchmarkError(f"{url}: {error.detail}") from error


def time_to_ready(
    plan: Plan, fleet: Fleet, url: str, count: int, limit: float = START_LIMIT
) -> Sample:
    """Return the seconds from starting a registry to its /ready.

    Raises `BenchmarkError` unless it then holds ``count`` services.
    """
    began = time.perf_counter()
    server = start_registry(plan, fleet, url, limit=limit)
    seconds = time.perf_counter() - began
    with fleet.stopping(server, graceful=True):
        if (total := total_services(server)) != count:
            raise BenchmarkError(f"ready with {total} of {count:,} services")
    return Sample(seconds)


def filled_consul(fleet: Fleet, services: Iterable[Service]) -> Server:
    """Return a Consul whose catalog holds the services."""
    server = consul(fleet, dev=False)
    send_all(server.port, [workload.consul_node()])
    put_into_consul(server, services)
    return server


def put_into_consul(server: Server, services: Iterable[Service]) -> None:
    """Write services to the catalog of a Consul that has the node for them."""
    requests = map(workload.consul_put, in_batches(services, CONSUL_BATCH))
    send_all(server.port, requests, WRITERS)


def filled_etcd(fleet: Fleet, services: Iterable[Service]) -> Server:
    """Return an etcd that holds the services under their capabilities."""
    server = etcd(fleet)
    put_into_etcd(server, services)
    return server


def put_into_etcd(server: Server, services: Iterable[Service]) -> None:
    """Put services into an etcd."""
    requests = map(workload.etcd_put, in_batches(services, ETCD_BATCH))
    send_all(server.port, requests, WRITERS)


def put_into_zookeeper(server: Server, services: Iterable[Service]) -> None:
    """Make a node for each service, below one for its capability.

    That is how Curator, its library for services, keeps them. The services come in
    order, so that those of a capability follow each other.
    """
    client = KazooClient(f"127.0.0.1:{server.port}", timeout=30)
    client.start(30)
    try:
        client.ensure_path(ZOOKEEPER_ROOT)
        for transactions in in_batches(_zookeeper_writes(client, services), WRITERS):
            for done in [transaction.commit_async() for transaction in transactions]:
                if failed := [r for r in done.get(60) if isinstance(r, Exception)]:
                    raise BenchmarkError(f"ZooKeeper: {failed[0]!r}")
    finally:
        client.stop()
        client.close()


def _zookeeper_writes(client: Any, services: Iterable[Service]) -> Iterator[Any]:
    for group in in_batches(services, 10 * PER_CAPABILITY):
        transaction = client.transaction()
        for capability in dict.fromkeys(service.capability for service in group):
            transaction.create(f"{ZOOKEEPER_ROOT}/{capability}")
        for service in group:
            path = f"{ZOOKEEPER_ROOT}/{service.capability}/{service.id}"
            transaction.create(path, workload.registry_body(service).encode())
        yield transaction
