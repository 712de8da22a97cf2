"""A registry that answers DNS in this process, and questions to it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dns.message
import dns.query
import dns.rcode
import dns.rrset
from flask.testing import FlaskClient

from modularity_registry import config, runtime
from modularity_registry.api.app import create_app
from modularity_registry.catalog import documents
from modularity_registry.dns import DnsServer, Senders, listen
from modularity_registry.dns.tcp import Limits
from modularity_registry.model.service import Registration, Service
from modularity_registry.runtime import Registry
from support.registry import LOOP, ManualClock, put_record, registration, unload

HOST = "127.0.0.1"
SECONDS = 10.0


class Site:
    """A registry with its name server on a free port."""

    def __init__(self, registry: Registry, server: DnsServer, port: int) -> None:
        self.registry = registry
        self.server = server
        self.port = port
        self.client: FlaskClient = create_app(registry).test_client()

    def register(
        self, service_id: str, location: str, namespace: str = "default", **changes: Any
    ) -> None:
        body = registration(service_id, location=location, **changes)
        reply = self.client.post(f"/api/ns/{namespace}/register", json=body)
        assert reply.status_code in (200, 201), reply.json

    def store(self, service_id: str, location: str) -> None:
        """Put a service into the store past all checks: no host is looked up."""
        at = self.registry.clock.now()
        said = Registration(service_id, service_id, ("greet",), location, "http")
        document = documents.encode(Service(said, at, at))
        put_record(self.registry.store, documents.key_of(service_id), document)

    def split(self, **groups: int) -> None:
        """Split the calls of greet."""
        reply = self.client.put("/api/capabilities/greet/split", json=groups)
        assert reply.status_code in (200, 201), reply.json

    def unregister(self, service_id: str) -> None:
        assert self.client.delete(f"/api/services/{service_id}").status_code == 200

    def drain(self, service_id: str) -> None:
        reply = self.client.put(f"/api/services/{service_id}/drain")
        assert reply.status_code == 200

    def fail(self, service_id: str) -> None:
        report = {"status": "unhealthy"}
        reply = self.client.post(f"/api/heartbeat/{service_id}", json=report)
        assert reply.status_code == 200

    def ask(
        self, name: str, kind: str = "SRV", host: str = HOST, **options: Any
    ) -> dns.message.Message:
        """Return the reply by UDP, also one that is cut short."""
        query = dns.message.make_query(name, kind, **options)
        return dns.query.udp(query, host, SECONDS, self.port)

    def ask_by_tcp(self, name: str, kind: str = "SRV") -> dns.message.Message:
        query = dns.message.make_query(name, kind)
        return dns.query.tcp(query, HOST, SECONDS, self.port)

    def find(self, name: str, kind: str = "SRV") -> list[str]:
        """Return the answers as text, in order."""
        return sorted(texts(self.ask(name, kind).answer))


def texts(section: list[dns.rrset.RRset]) -> list[str]:
    return [data.to_text() for rrset in section for data in rrset]


def rcode(reply: dns.message.Message) -> str:
    return dns.rcode.to_text(reply.rcode())


@contextmanager
def site(
    host: str = HOST,
    domain: str = "modularity",
    ttl: int = 5,
    limits: Limits | None = None,
    trusted: str = "loopback",
    rate: str = "off",
    namespaces: tuple[str, ...] = (),
) -> Iterator[Site]:
    """Run one; times are the system's for senders alone."""
    settings = config.Settings(namespace=namespaces)
    registry = runtime.build(settings, ManualClock(), replica="replica-1")
    sockets = listen(host, 0)
    senders = Senders(trusted, rate, time.monotonic)
    server = DnsServer(
        registry.catalog,
        registry.feed,
        sockets,
        domain,
        ttl,
        limits,
        senders,
        registry.metrics,
        {name: (one.catalog, one.feed) for name, one in registry.namespaces.items()},
    )
    for one in registry.all_namespaces:
        LOOP.call(one.feed.start())
    LOOP.call(server.start())
    try:
        yield Site(registry, server, sockets.port)
    finally:
        LOOP.call(server.stop())
        unload(registry)
