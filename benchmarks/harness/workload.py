"""The services that are registered and the requests that are made, for each system.

A service is described once and written in the format of each system, so all systems
hold the same facts. Everything follows from a number or from the seed.
"""

import base64
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from benchmarks.harness.http import request

PER_CAPABILITY = 10
# The same number at every size of the registry, so that the memory of wrk itself does
# not change what is compared.
REQUESTS = 20_000

RUNTIMES = ("python", "go", "java", "node", "rust")
REGIONS = ("eu-central-1", "eu-west-1", "us-east-1", "ap-south-1")
ETCD_PREFIX = "services/"
CONSUL_NODE = "fleet"


@dataclass(frozen=True, slots=True)
class Service:
    """A service. Number and group are text, so that a wrk script can fill them in."""

    number: str
    group: str
    location: str = "http://10.20.30.40:8080"
    mode: str = "standalone"
    runtime: str = RUNTIMES[0]
    region: str = REGIONS[0]
    build: str = "2026.10.17-4f2a91c07d"
    ttl: int | None = None
    entries: int = 6

    @property
    def id(self) -> str:
        """Its unique id."""
        return f"inst-{self.number}"

    @property
    def capability(self) -> str:
        """The capability that `PER_CAPABILITY` services share."""
        return f"orders-{self.group}"

    @property
    def metadata(self) -> dict[str, str]:
        """Its metadata, as an owner would write it: so many ``entries`` of it."""
        every = {
            "runtime": self.runtime,
            "region": self.region,
            "zone": f"{self.region}b",
            "owner": "checkout@example.com",
            "team": "checkout",
            "build": self.build,
        }
        return dict(list(every.items())[: self.entries])


def service(number: int, mode: str = "standalone", ttl: int | None = None) -> Service:
    """Return service ``number``, with an address of its own.

    Services of mode ``standalone`` are never checked, so nothing is sent to the
    address. It only has to be as long as a real one.
    """
    a, b, c = number >> 16 & 255, number >> 8 & 255, number & 255
    return Service(
        number=f"{number:09d}",
        group=f"{number // PER_CAPABILITY:09d}",
        location=f"http://10.{a}.{b}.{c}:{8000 + number % 1000}",
        mode=mode,
        runtime=RUNTIMES[number % len(RUNTIMES)],
        region=REGIONS[number // 7 % len(REGIONS)],
        build=f"2026.10.{number % 28 + 1:02d}-{number * 2654435761 % 2**40:010x}",
        ttl=ttl,
    )


def sole_provider(number: int) -> Service:
    """Return a service that is the only provider of its capability."""
    return replace(service(number), group=f"lone-{number:09d}")


def registry_body(service: Service) -> str:
    """Return the body of a registration, about 350 bytes."""
    body: dict[str, object] = {
        "id": service.id,
        "name": f"orders service {service.group}",
        "version": "1.4.2",
        "capabilities": [service.capability, f"{service.capability}/batch"],
        "location": service.location,
        "mode": service.mode,
        "metadata": service.metadata,
    }
    if service.ttl is not None:
        body["ttl"] = service.ttl
    return json.dumps(body, separators=(",", ":"))


def registry_register(service: Service) -> bytes:
    """Return the request that registers a service with this registry."""
    return request("POST", "/api/register", registry_body(service))


def consul_body(service: Service) -> str:
    """Return the same service in the format of a Consul agent."""
    address = service.location.removeprefix("http://")
    host, _, port = address.partition(":")
    body = {
        "ID": service.id,
        "Name": service.capability,
        "Tags": [f"{service.capability}/batch", service.mode],
        "Address": host,
        "Port": int(port),
        "Meta": {**service.metadata, "version": "1.4.2"},
    }
    return json.dumps(body, separators=(",", ":"))


def consul_register(service: Service) -> bytes:
    """Return the request that registers a service with a Consul agent."""
    return request("PUT", "/v1/agent/service/register", consul_body(service))


def etcd_register(service: Service) -> bytes:
    """Return the request that puts a service under its capability in etcd."""
    return request("POST", "/v3/kv/put", etcd_body(service))


def etcd_body(service: Service) -> str:
    """Return the same service as a key and its value in etcd."""
    key = f"{ETCD_PREFIX}{service.capability}/{service.id}"
    return json.dumps({"key": _base64(key), "value": _base64(registry_body(service))})


def consul_put(services: Sequence[Service]) -> bytes:
    """Return the request that writes them to Consul's catalog, at most 64."""
    operations = []
    for each in services:
        body = json.loads(consul_body(each))
        body["Service"] = body.pop("Name")
        operation = {"Verb": "set", "Node": CONSUL_NODE, "Service": body}
        operations.append({"Service": operation})
    return request("PUT", "/v1/txn", json.dumps(operations, separators=(",", ":")))


def consul_node() -> bytes:
    """Return the request for a healthy node of Consul, which has the services.

    Consul's own agent removes what was not registered with it from its own node.
    """
    check = {"CheckID": "alive", "Name": "alive", "Status": "passing"}
    body = {"Node": CONSUL_NODE, "Address": "10.0.0.1", "Check": check}
    return request("PUT", "/v1/catalog/register", json.dumps(body))


def etcd_put(services: Sequence[Service]) -> bytes:
    """Return the request that puts them into etcd at once, at most 128."""
    puts = [{"requestPut": json.loads(etcd_body(each))} for each in services]
    return request("POST", "/v3/kv/txn", json.dumps({"success": puts}))


def registry_lookup(capability: str, query: str = "", headers: str = "") -> bytes:
    """Return the request for one healthy provider."""
    path = f"/api/capabilities/{capability}{query}"
    return request("GET", path, headers=headers)


def registry_list(capability: str) -> bytes:
    """Return the request for all providers."""
    return request("GET", f"/api/capabilities/{capability}/services")


def consul_lookup(capability: str) -> bytes:
    """Return Consul's request for the healthy instances of a service."""
    return request("GET", f"/v1/health/service/{capability}?passing")


def etcd_lookup(capability: str) -> bytes:
    """Return etcd's request for all keys under a capability."""
    prefix = f"{ETCD_PREFIX}{capability}/"
    end = prefix[:-1] + chr(ord("/") + 1)
    body = {"key": _base64(prefix), "range_end": _base64(end)}
    return request("POST", "/v3/kv/range", json.dumps(body))


def zookeeper_lookup(capability: str) -> str:
    """Return the node of a capability and those below it, as JSON."""
    first = int(capability.rpartition("-")[2]) * PER_CAPABILITY
    ids = [service(number).id for number in range(first, first + PER_CAPABILITY)]
    return json.dumps([capability, *ids])


def draw(items: Sequence[str], seed: int) -> Iterator[str]:
    """Return `REQUESTS` items, drawn at random; the same seed gives the same items."""
    return iter(random.Random(seed).choices(items, k=REQUESTS))


def services(count: int, first: int = 0) -> Iterator[Service]:
    """Return the services from number ``first`` up to ``count``."""
    return map(service, range(first, count))


def checked_services(
    count: int, port: int, addresses: int, first: int = 0
) -> Iterator[bytes]:
    """Yield the registrations of services that are checked at a server on loopback.

    They are spread over so many addresses, from 127.0.0.1 on; the path is the number.
    """
    for number in range(first, first + count):
        location = f"http://127.0.0.{number % addresses + 1}:{port}/{number:09d}"
        checked = replace(service(number, mode="http"), entries=2)
        yield registry_register(replace(checked, location=location))


def capabilities(count: int) -> list[str]:
    """Return the capabilities of the first ``count`` services."""
    return [service(n).capability for n in range(0, count, PER_CAPABILITY)]


# Markers that a script replaces by numbers. They are as long as the numbers, so the
# length of a request is right from the start.
BLANK = Service(number="N" * 9, group="G" * 9)


def etcd_count() -> bytes:
    """Return etcd's request for the number of services it holds."""
    end = ETCD_PREFIX[:-1] + chr(ord("/") + 1)
    body = {"key": _base64(ETCD_PREFIX), "range_end": _base64(end), "count_only": True}
    return request("POST", "/v3/kv/range", json.dumps(body))


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
