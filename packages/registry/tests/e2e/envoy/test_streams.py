"""Streams of xDS as a node has them: who may, in which order, and what ends them."""

import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import grpc
import pytest
import requests
from envoy.service.discovery.v3 import discovery_pb2

from modularity_registry.integrations.envoy.kinds import Kind
from support.access.tls import Authority, TlsRegistry, renew
from support.access.tokens import asked, closed
from support.registry import eventually, registration
from support.servers.registry import RegistryProcess
from support.serving import HOST, free_port

ADS = "envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"
EDS = "envoy.service.endpoint.v3.EndpointDiscoveryService/StreamEndpoints"


class Node:
    """A node with one stream."""

    def __init__(self, channel: Any, method: str, **options: Any) -> None:
        self._requests: SimpleQueue[bytes | None] = SimpleQueue()
        call: Any = channel.stream_stream(f"/{method}")
        self.stream = call(iter(self._requests.get, None), timeout=60, **options)

    def ask(self, kind: Kind, *names: str, nonce: str = "") -> None:
        request = discovery_pb2.DiscoveryRequest(
            type_url=kind.type_url, resource_names=names, response_nonce=nonce
        )
        request.node.id = "n1"
        self._requests.put(request.SerializeToString())

    def send(self, content: bytes) -> None:
        self._requests.put(content)

    def next(self) -> tuple[Kind, int, str]:
        """Return the kind, the number of resources and the nonce of the next one."""
        response = discovery_pb2.DiscoveryResponse.FromString(next(self.stream))
        (kind,) = [kind for kind in Kind if kind.type_url == response.type_url]
        return kind, len(response.resources), response.nonce

    def error(self) -> tuple[grpc.StatusCode, str]:
        """Return how the stream ends."""
        with pytest.raises(grpc.RpcError) as raised:
            for _ in self.stream:
                pass
        error: Any = raised.value
        return error.code(), error.details()

    def end(self) -> None:
        self._requests.put(None)


class Served(RegistryProcess):
    """A registry with a port for streams."""

    def __init__(self, **settings: Any) -> None:
        self.xds = free_port()
        self.settings = {"integrations": ["envoy"], "xds_port": self.xds, **settings}
        super().__init__(**self.settings)

    def register(self, service_id: str, **changes: Any) -> None:
        body = registration(service_id, **changes)
        url = f"{self.url}/api/register"
        assert requests.post(url, json=body, timeout=20).ok

    def node(self, method: str = ADS) -> AbstractContextManager[Node]:
        """Have a node with a stream of its own."""
        return node_at(self.xds, method)


@contextmanager
def node_at(
    port: int, method: str = ADS, channel: Any = None, **options: Any
) -> Iterator[Node]:
    """Have a node with a stream at a port, until the end of the block."""
    with channel or grpc.insecure_channel(f"{HOST}:{port}") as connected:
        node = Node(connected, method, **options)
        try:
            yield node
        finally:
            node.end()
            node.stream.cancel()


@pytest.fixture(scope="module")
def registry() -> Iterator[Served]:
    registry = Served(health_check_interval=3600, max_watchers_per_client=3)
    try:
        yield registry
    finally:
        registry.process.kill()
        registry.process.wait(20)


def test_routes_wait_until_clusters_and_endpoints_are_accepted(
    registry: Served,
) -> None:
    registry.register("a")
    with registry.node() as node:
        node.ask(Kind.ROUTES, "@egress")
        assert node.next()[:2] == (Kind.ROUTES, 1)
        node.ask(Kind.CLUSTERS)
        kind, number, clusters = node.next()
        assert (kind, number) == (Kind.CLUSTERS, 1)
        node.ask(Kind.ENDPOINTS, "greet")
        kind, _, endpoints = node.next()
        assert kind is Kind.ENDPOINTS
        # All of them are due; routes come when the others are known to be there.
        node.ask(Kind.LISTENERS)
        node.ask(Kind.CLUSTERS, nonce=clusters)
        node.ask(Kind.ENDPOINTS, "greet", nonce=endpoints)
        kind, number, _ = node.next()
        assert (kind, number) == (Kind.LISTENERS, 1)
        assert node.next()[0] is Kind.ROUTES


def test_a_change_of_health_sends_endpoints_alone(registry: Served) -> None:
    registry.register("a")
    with registry.node() as node:
        node.ask(Kind.CLUSTERS)
        node.ask(Kind.ENDPOINTS, "greet")
        seen = {node.next()[0], node.next()[0]}
        assert seen == {Kind.CLUSTERS, Kind.ENDPOINTS}
        url = f"{registry.url}/api/services/a/drain"
        assert requests.put(url, json={"reason": "a test"}, timeout=20).ok
        assert node.next()[0] is Kind.ENDPOINTS
        assert requests.delete(url, timeout=20).ok
        assert node.next()[0] is Kind.ENDPOINTS


def test_a_type_has_a_service_of_its_own(registry: Served) -> None:
    with registry.node(EDS) as node:
        node.ask(Kind.ENDPOINTS, "nobody/offers/this")
        assert node.next()[:2] == (Kind.ENDPOINTS, 1)


def test_rubbish_ends_the_stream_that_it_comes_on(registry: Served) -> None:
    with registry.node() as node:
        node.send(b"\xff" * 100)
        assert node.error()[0] is grpc.StatusCode.INVALID_ARGUMENT


def test_a_client_has_its_share_of_streams(registry: Served) -> None:
    channel = grpc.insecure_channel(f"{HOST}:{registry.xds}")
    with channel:
        nodes = [Node(channel, ADS) for _ in range(3)]
        for node in nodes:
            node.ask(Kind.CLUSTERS)
            node.next()
        code, detail = Node(channel, ADS).error()
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "3 places" in detail
        for node in nodes:
            node.end()
    eventually(lambda: _watchers(registry) == 0)


def _watchers(registry: Served) -> int:
    stats = requests.get(f"{registry.url}/api/stats", timeout=20).json()
    streams: int = stats["integrations"]["envoy"]["streams"]
    return streams


def _fetch(registry: Served, kind: Kind, body: Any) -> requests.Response:
    url = f"{registry.url}/v3/discovery:{kind.label}"
    return requests.post(url, json=body, timeout=20)


def test_by_rest_nothing_new_is_304(registry: Served) -> None:
    registry.register("a")
    for kind in Kind:
        first = _fetch(registry, kind, {"node": {"id": "r"}})
        assert first.status_code == 200
        content = first.json()
        assert content["type_url"] == kind.type_url
        assert {each["@type"] for each in content["resources"]} == {kind.type_url}
        for name in ("version_info", "versionInfo"):
            again = {"node": {"id": "r"}, name: content["version_info"]}
            assert _fetch(registry, kind, again).status_code == 304


def test_by_rest_what_is_named_is_answered(registry: Served) -> None:
    body = {"resource_names": ["greet", "nobody/offers/this"]}
    resources = _fetch(registry, Kind.ENDPOINTS, body).json()["resources"]
    assert [each["cluster_name"] for each in resources] == body["resource_names"]
    assert "endpoints" not in resources[1]
    named = {"resourceNames": ["nobody/offers/this"]}
    assert _fetch(registry, Kind.CLUSTERS, named).json()["resources"] == []


def test_by_rest_a_refusal_is_taken(registry: Served) -> None:
    node = {"id": "refuses"}
    _fetch(registry, Kind.CLUSTERS, {"node": node})
    _fetch(registry, Kind.CLUSTERS, {"node": node, "error_detail": {"message": "no"}})
    stats = requests.get(f"{registry.url}/api/stats", timeout=20).json()
    first = stats["integrations"]["envoy"]["shown"][0]
    assert (first["id"], first["rejected"]["message"]) == ("refuses", "no")


@pytest.mark.parametrize(
    "body", [5, [], {"node": 5}, {"node": {"id": 5}}, {"resource_names": [5]}]
)
def test_by_rest_rubbish_is_refused(registry: Served, body: Any) -> None:
    reply = _fetch(registry, Kind.CLUSTERS, body)
    assert reply.status_code == 400
    assert "DiscoveryRequest" in reply.json()["detail"]


def test_a_port_in_use_is_found_at_the_start(registry: Served) -> None:
    command = [sys.executable, "-m", "modularity_registry", "serve"]
    flags = ["--port", str(free_port()), "--integrations", "envoy"]
    done = subprocess.run(
        [*command, *flags, "--xds-port", str(registry.xds)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0
    assert f"can't serve xDS on 127.0.0.1 port {registry.xds}" in done.stderr
    assert "--xds-port" in done.stderr


def test_tokens_are_asked_for_and_may_be_revoked(tmp_path: Path) -> None:
    port = free_port()
    settings = {"integrations": ["envoy"], "xds_port": port}
    with closed(tmp_path, **settings) as (registry, boss):
        with node_at(port) as node:
            node.ask(Kind.CLUSTERS)
            code, detail = node.error()
            assert code is grpc.StatusCode.UNAUTHENTICATED
            assert "'read'" in detail
        reader = asked(registry, boss, "create", "mesh", "--right", "read")
        bearer = (("authorization", f"Bearer {reader.stdout.strip()}"),)
        with node_at(port, metadata=bearer) as node:
            node.ask(Kind.CLUSTERS)
            assert node.next()[0] is Kind.CLUSTERS
            assert asked(registry, boss, "revoke", "mesh").exit_code == 0
            code, detail = node.error()
            assert code is grpc.StatusCode.UNAUTHENTICATED
            assert "revoked" in detail


def test_the_registrys_certificate_is_served_and_renewed(tmp_path: Path) -> None:
    authority, port = Authority(tmp_path), free_port()
    cert, key = authority.write("served")
    context = authority.context()
    settings = {"integrations": "envoy", "xds_port": port}
    registry = TlsRegistry(tmp_path, context, tls_cert=cert, tls_key=key, **settings)
    try:
        registry.wait_until_up()
        trust = grpc.ssl_channel_credentials(authority.path.read_bytes())
        where = f"{HOST}:{port}"
        with node_at(port, channel=grpc.secure_channel(where, trust)) as node:
            node.ask(Kind.CLUSTERS)
            assert node.next()[0] is Kind.CLUSTERS
        renew(authority, "renewed")
        eventually(lambda: "renewed" in _subject(port, context))
    finally:
        registry.stop()


def _subject(port: int, context: ssl.SSLContext) -> str:
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection((HOST, port), 20) as plain,
        context.wrap_socket(plain, server_hostname=HOST) as secure,
    ):
        return str(secure.getpeercert())
