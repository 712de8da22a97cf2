"""The dashboard shows which nodes have what, and why one refuses something."""

from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

import grpc
from envoy.service.discovery.v3 import discovery_pb2
from playwright.sync_api import expect

from e2e.dashboard.browser import browser, open_page, running_registry
from support.serving import HOST, free_port

CLUSTERS = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
METHOD = (
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"
)


@contextmanager
def refusing_node(port: int) -> Iterator[None]:
    """Have a node that refuses the clusters that it is sent."""
    first = discovery_pb2.DiscoveryRequest(type_url=CLUSTERS)
    first.node.id, first.node.cluster = "orders-1", "orders"
    with grpc.insecure_channel(f"{HOST}:{port}") as channel:
        requests: SimpleQueue[bytes | None] = SimpleQueue()
        requests.put(first.SerializeToString())
        call: Any = channel.stream_stream(METHOD)
        stream = call(iter(requests.get, None))
        response = discovery_pb2.DiscoveryResponse.FromString(next(stream))
        second = discovery_pb2.DiscoveryRequest(
            type_url=CLUSTERS, response_nonce=response.nonce
        )
        second.error_detail.message = "<b>no such cluster</b>"
        requests.put(second.SerializeToString())
        yield
        requests.put(None)


def test_the_registry_view_shows_nodes() -> None:
    port = free_port()
    settings = {"integrations": ["envoy"], "xds_port": port}
    with (
        browser() as chromium,
        running_registry(**settings) as registry,
        refusing_node(port),
        open_page(chromium, registry) as page,
    ):
        page.goto(f"{registry.url}/#/registry")
        row = page.get_by_role("table", name="Envoy").get_by_role("row")
        node = row.filter(has_text="orders-1")
        expect(node).to_contain_text("refuses")
        expect(node).to_contain_text("<b>no such cluster</b>")
        expect(node).to_contain_text("clusters: none, sent")
