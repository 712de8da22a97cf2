"""The services that are registered and the calls that are made, for every system.

One service is described once and written down as each system wants it, so that all
of them carry the same facts. Everything follows from a number or from the seed.
"""

import base64
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from benchmarks.harness.http import request

PER_CAPABILITY = 10
# Enough that no two neighbours ask alike, and as many at every size of the registry,
# so that the generator's own memory does not change what is compared.
CALLS = 20_000

RUNTIMES = ("python", "go", "java", "node", "rust")
REGIONS = ("eu-central-1", "eu-west-1", "us-east-1", "ap-south-1")
ETCD_PREFIX = "services/"


@dataclass(frozen=True, slots=True)
class Spec:
    """A service. The number and group are text, so that a script can fill them in."""

    number: str
    group: str
    location: str = "http://10.20.30.40:8080"
    mode: str = "standalone"
    runtime: str = RUNTIMES[0]
    region: str = REGIONS[0]
    build: str = "2026.10.17-4f2a91c07d"
    ttl: int | None = None

    @property
    def id(self) -> str:
        """Its id, unique."""
        return f"inst-{self.number}"

    @property
    def capability(self) -> str:
        """The capability it is looked up by; `PER_CAPABILITY` services share it."""
        return f"orders-{self.group}"

    @property
    def metadata(self) -> dict[str, str]:
        """What its owner wants known."""
        return {
            "runtime": self.runtime,
            "region": self.region,
            "zone": f"{self.region}b",
            "owner": "checkout@example.com",
            "team": "checkout",
            "build": self.build,
        }


def spec(number: int, mode: str = "standalone", ttl: int | None = None) -> Spec:
    """Return service ``number`` of the fleet, with an address of its own.

    The mode is one that is never checked, so that nothing is sent to the address: it
    only has to be stored, and as long as a real one.
    """
    a, b, c = number >> 16 & 255, number >> 8 & 255, number & 255
    return Spec(
        number=f"{number:09d}",
        group=f"{number // PER_CAPABILITY:09d}",
        location=f"http://10.{a}.{b}.{c}:{8000 + number % 1000}",
        mode=mode,
        runtime=RUNTIMES[number % len(RUNTIMES)],
        region=REGIONS[number // 7 % len(REGIONS)],
        build=f"2026.10.{number % 28 + 1:02d}-{number * 2654435761 % 2**40:010x}",
        ttl=ttl,
    )


def lone(number: int) -> Spec:
    """Return a service that is the only one with its capability."""
    return replace(spec(number), group=f"lone-{number:09d}")


def registry_body(service: Spec) -> str:
    """Return the registration of a service with this registry, about 350 bytes."""
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


def registry_register(service: Spec) -> bytes:
    """Return the call that registers a service with this registry."""
    return request("POST", "/api/register", registry_body(service))


def consul_body(service: Spec) -> str:
    """Return the same service as a Consul agent takes it."""
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


def consul_register(service: Spec) -> bytes:
    """Return the call that registers a service with a Consul agent."""
    return request("PUT", "/v1/agent/service/register", consul_body(service))


def etcd_register(service: Spec) -> bytes:
    """Return the call that puts a service under its capability in etcd."""
    key = f"{ETCD_PREFIX}{service.capability}/{service.id}"
    body = {"key": _base64(key), "value": _base64(registry_body(service))}
    return request("POST", "/v3/kv/put", json.dumps(body))


def registry_lookup(capability: str) -> bytes:
    """Return the call for one healthy provider."""
    return request("GET", f"/api/capabilities/{capability}")


def registry_list(capability: str) -> bytes:
    """Return the call for all the providers."""
    return request("GET", f"/api/capabilities/{capability}/services")


def consul_lookup(capability: str) -> bytes:
    """Return Consul's call for the healthy instances of a service."""
    return request("GET", f"/v1/health/service/{capability}?passing")


def etcd_lookup(capability: str) -> bytes:
    """Return etcd's call for all the keys under a capability."""
    prefix = f"{ETCD_PREFIX}{capability}/"
    end = prefix[:-1] + chr(ord("/") + 1)
    body = {"key": _base64(prefix), "range_end": _base64(end)}
    return request("POST", "/v3/kv/range", json.dumps(body))


def drawn(items: Sequence[str], seed: int) -> Iterator[str]:
    """Return `CALLS` of the items, drawn at random, the same for the same seed."""
    return iter(random.Random(seed).choices(items, k=CALLS))


def fleet(services: int, alone: int = 0) -> Iterator[Spec]:
    """Return so many services, and after them those that are ``alone``."""
    yield from map(spec, range(services))
    yield from map(lone, range(services, services + alone))


def capabilities(services: int) -> list[str]:
    """Return the capabilities that the first ``services`` services provide."""
    return [spec(n).capability for n in range(0, services, PER_CAPABILITY)]


# Markers that a script puts numbers in place of: as long as what replaces them, so a
# request's length is right from the start, and a multiple of 3, so they stay visible
# in base64 after a prefix that is one too.
BLANK = Spec(number="N" * 9, group="G" * 9)


def etcd_blank() -> bytes:
    """Return etcd's put of one service, with the marker for its number in the key."""
    key, value = f"{ETCD_PREFIX}{BLANK.number}", registry_body(spec(1))
    assert len(ETCD_PREFIX) % 3 == 0
    body = json.dumps({"key": _base64(key), "value": _base64(value)})
    return request("POST", "/v3/kv/put", body)


def etcd_count() -> bytes:
    """Return etcd's call for how many services it holds."""
    end = ETCD_PREFIX[:-1] + chr(ord("/") + 1)
    body = {"key": _base64(ETCD_PREFIX), "range_end": _base64(end), "count_only": True}
    return request("POST", "/v3/kv/range", json.dumps(body))


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
