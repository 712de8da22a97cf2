"""A sidecar's inbound listener and its routes."""

from typing import Any, Final

from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.http.rbac.v3.rbac_pb2 import RBAC, RBACPerRoute
from envoy.extensions.filters.http.router.v3.router_pb2 import Router
from envoy.extensions.filters.listener.tls_inspector.v3.tls_inspector_pb2 import (
    TlsInspector,
)
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as managers,
)
from google.protobuf.json_format import ParseDict

from modularity_registry.integrations.envoy.kinds import url_of
from modularity_registry.integrations.envoy.node import Way
from modularity_registry.integrations.envoy.resources.clusters import source
from modularity_registry.integrations.mesh.resources import permissions, tls
from modularity_registry.integrations.mesh.resources.sidecar import Sidecar
from modularity_registry.model.sidecar import APP, INBOUND

_RBAC_FILTER: Final = "envoy.filters.http.rbac"
_REFUSAL: Final = (
    "this service takes calls by mutual TLS alone; call it through a sidecar of the"
    " mesh\n"
)
_GRPC_HEALTH: Final = "/grpc.health.v1.Health/"
_ROUTER: Final = {
    "name": "envoy.filters.http.router",
    "typed_config": {"@type": url_of(Router)},
}
_TO_APP: Final = {
    "cluster": APP,
    "timeout": "0s",  # The caller's own is what counts.
    # The service may have restarted: then a new connection does.
    "retry_policy": {"retry_on": "reset-before-request,refused-stream"},
}


def listener(
    sidecar: Sidecar, trust_domain: str, way: Way, connection_lasts: float
) -> Listener:
    """Return the listener: mutual TLS for calls, and none for the registry's checks.

    A connection ends ``connection_lasts`` seconds after its start, between two calls.
    """
    calls = {
        "stat_prefix": "inbound",
        "rds": {"route_config_name": INBOUND, "config_source": source(way)},
        "forward_client_cert_details": "SANITIZE_SET",
        "set_current_client_cert_details": {"uri": True},
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "http1_safe_max_connection_duration": True,
        "common_http_protocol_options": {
            "max_connection_duration": f"{connection_lasts:.0f}s"
        },
        # Who has no route's rules gets nowhere.
        "http_filters": [_rbac(), _ROUTER],
    }
    checks = {
        "stat_prefix": "checks",
        "route_config": _check_routes(sidecar),
        "http_filters": [_ROUTER],
    }
    where = {"address": sidecar.address, "port_value": sidecar.port}
    content: dict[str, Any] = {
        "name": INBOUND,
        "address": {"socket_address": where},
        "listener_filters": [
            {
                "name": "envoy.filters.listener.tls_inspector",
                "typed_config": {"@type": url_of(TlsInspector)},
            }
        ],
        "filter_chains": [
            {
                "name": "calls",
                "filter_chain_match": {"transport_protocol": "tls"},
                "transport_socket": tls.downstream(trust_domain),
                "filters": [_manager(calls)],
            },
            {
                "name": "checks",
                "filter_chain_match": {"transport_protocol": "raw_buffer"},
                "filters": [_manager(checks)],
            },
        ],
    }
    return ParseDict(content, Listener())


def routes(policies: dict[str, Any]) -> RouteConfiguration:
    """Return the routes of calls: to the service, for whom a policy allows.

    They change with the intentions, so that no connection has to.
    """
    allowed = {
        "@type": url_of(RBACPerRoute),
        "rbac": permissions.rules(policies),
    }
    host = {
        "name": INBOUND,
        "domains": ["*"],
        "routes": [{"match": {"prefix": "/"}, "route": _TO_APP}],
        "typed_per_filter_config": {_RBAC_FILTER: allowed},
    }
    content = {"name": INBOUND, "virtual_hosts": [host], "validate_clusters": False}
    return ParseDict(content, RouteConfiguration())


def _check_routes(sidecar: Sidecar) -> dict[str, Any]:
    match: dict[str, Any] = {"prefix": _GRPC_HEALTH}
    if sidecar.protocol == "http":
        match = {"path": sidecar.health_path.partition("?")[0]}
        match["headers"] = [{"name": ":method", "string_match": {"exact": "GET"}}]
    refusal = {"status": 403, "body": {"inline_string": _REFUSAL}}
    host = {
        "name": "checks",
        "domains": ["*"],
        "routes": [
            {"match": match, "route": _TO_APP},
            {"match": {"prefix": ""}, "direct_response": refusal},
        ],
    }
    return {"name": "checks", "virtual_hosts": [host], "validate_clusters": False}


def _rbac() -> dict[str, Any]:
    return {
        "name": _RBAC_FILTER,
        "typed_config": {"@type": url_of(RBAC), **permissions.rules({})},
    }


def _manager(content: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": url_of(managers.HttpConnectionManager),
            # billing:8080 is billing as well.
            "strip_any_host_port": True,
            **content,
        },
    }
