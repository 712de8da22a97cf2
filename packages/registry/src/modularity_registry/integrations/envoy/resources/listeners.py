"""Listeners: an outbound one for Envoy, and one for each target of a gRPC client."""

from typing import Any, Final

from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.http.router.v3.router_pb2 import Router
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as managers,
)
from google.protobuf.json_format import ParseDict

from modularity_registry.integrations.envoy.kinds import url_of
from modularity_registry.integrations.envoy.node import Way
from modularity_registry.integrations.envoy.resources.clusters import source
from modularity_registry.integrations.envoy.resources.routes import OUTBOUND

_ROUTER: Final = {
    "name": "envoy.filters.http.router",
    "typed_config": {"@type": url_of(Router)},
}


def outbound_listener(address: tuple[str, int], way: Way) -> Listener:
    """Return the listener at which the programs beside an Envoy call capabilities."""
    host, port = address
    manager = {
        "@type": url_of(managers.HttpConnectionManager),
        "stat_prefix": "egress",
        "rds": {"route_config_name": OUTBOUND, "config_source": source(way)},
        # billing:8080 is billing as well.
        "strip_any_host_port": True,
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "http_filters": [_ROUTER],
    }
    filters = [
        {
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": manager,
        }
    ]
    where = {"socket_address": {"address": host, "port_value": port}}
    content: dict[str, Any] = {
        "name": OUTBOUND,
        "address": where,
        "filter_chains": [{"filters": filters}],
    }
    return ParseDict(content, Listener())


def target_listener(routes: RouteConfiguration) -> Listener:
    """Return what gRPC's ``xds:///`` resolver asks for, with the routes in it."""
    manager = managers.HttpConnectionManager(route_config=routes)
    ParseDict({"http_filters": [_ROUTER]}, manager)
    listener = Listener(name=routes.name)
    listener.api_listener.api_listener.Pack(manager)
    return listener
