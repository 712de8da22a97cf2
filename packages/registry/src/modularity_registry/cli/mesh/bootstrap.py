"""What Envoy begins with: where the registry is, and what the sidecar is."""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from modularity_registry.model.sidecar import APP, MESH

REGISTRY: Final = "registry"
_TYPES: Final = "type.googleapis.com/"
_MOST_CONNECTIONS: Final = {
    "name": "envoy.resource_monitors.global_downstream_max_connections",
    "typed_config": {
        "@type": f"{_TYPES}envoy.extensions.resource_monitors.downstream_connections.v3"
        ".DownstreamConnectionsConfig",
        "max_active_downstream_connections": 10_000,
    },
}

ADMIN: Final = "admin.sock"
"""The socket in the sidecar's folder at which Envoy tells how it is."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a sidecar is to be. ``inbound_port`` is 0 without mutual TLS."""

    service_id: str
    capabilities: Sequence[str]
    protocol: str
    app_port: int
    address: str
    inbound_port: int
    outbound_port: int
    health_path: str
    zone: str
    region: str

    @property
    def mtls(self) -> bool:
        """Whether it takes calls, by mutual TLS."""
        return self.inbound_port > 0

    @property
    def location(self) -> str:
        """Where it is registered: at the sidecar, or without one at the service."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{self.protocol}://{host}:{self.inbound_port or self.app_port}"


@dataclass(frozen=True, slots=True)
class RegistryAccess:
    """How Envoy reaches the registry; its files are for TLS, None for the usual."""

    urls: Sequence[str]
    xds_port: int
    token: str
    ca_file: str | None
    client_cert: str | None
    client_key: str | None


def bootstrap(plan: Plan, access: RegistryAccess) -> dict[str, Any]:
    """Return the configuration. It holds the token: for a file of one's own alone."""
    grpc: dict[str, Any] = {"envoy_grpc": {"cluster_name": REGISTRY}}
    if access.token:
        bearer = {"key": "authorization", "value": f"Bearer {access.token}"}
        grpc["initial_metadata"] = [bearer]
    ads = {"ads": {}, "resource_api_version": "V3"}
    return {
        "node": _node(plan),
        "admin": {"address": {"pipe": {"path": f"./{ADMIN}", "mode": 0o600}}},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "GRPC",
                "transport_api_version": "V3",
                "grpc_services": [grpc],
            },
            "cds_config": ads,
            "lds_config": ads,
        },
        "static_resources": {"clusters": [_registry(access), _app(plan)]},
        "overload_manager": {"resource_monitors": [_MOST_CONNECTIONS]},
    }


def _node(plan: Plan) -> dict[str, Any]:
    metadata: dict[str, Any] = {"egress": f"127.0.0.1:{plan.outbound_port}"}
    if plan.mtls:
        is_loopback = plan.address in ("127.0.0.1", "::1")
        everywhere = "::" if ":" in plan.address else "0.0.0.0"  # nosec B104
        metadata[MESH] = {
            "service_id": plan.service_id,
            "capabilities": list(plan.capabilities),
            "address": plan.address if is_loopback else everywhere,
            "port": plan.inbound_port,
            "health_path": plan.health_path,
            "protocol": plan.protocol,
        }
    return {
        "id": f"{plan.service_id}~{plan.address}:{plan.outbound_port}",
        "cluster": plan.service_id,
        "locality": {"region": plan.region, "zone": plan.zone},
        "metadata": metadata,
    }


def _registry(access: RegistryAccess) -> dict[str, Any]:
    hosts = [urlsplit(url).hostname or "" for url in access.urls]
    port = access.xds_port
    addresses = [{"address": host, "port_value": port} for host in hosts]
    keep_alive = {"connection_keepalive": {"interval": "30s", "timeout": "5s"}}
    protocol = {"http2_protocol_options": keep_alive}
    cluster = _cluster(REGISTRY, addresses, protocol)
    if access.urls[0].startswith("https:"):
        cluster["transport_socket"] = _tls(access, hosts)
    return cluster


def _app(plan: Plan) -> dict[str, Any]:
    address = {"address": "127.0.0.1", "port_value": plan.app_port}
    number = 2 if plan.protocol == "grpc" else ""
    return _cluster(APP, [address], {f"http{number}_protocol_options": {}})


def _cluster(
    name: str, addresses: Sequence[dict[str, Any]], protocol: dict[str, Any]
) -> dict[str, Any]:
    endpoints = [
        {"endpoint": {"address": {"socket_address": address}}} for address in addresses
    ]
    options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    return {
        "name": name,
        "type": "STRICT_DNS",
        # A name may have an address at which the registry does not listen.
        "dns_lookup_family": "V4_PREFERRED",
        "connect_timeout": "2s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": endpoints}],
        },
        "typed_extension_protocol_options": {
            options: {"@type": _TYPES + options, "explicit_http_config": protocol}
        },
    }


def _tls(access: RegistryAccess, hosts: Sequence[str]) -> dict[str, Any]:
    trusted = access.ca_file or ssl.get_default_verify_paths().cafile
    validation: dict[str, Any] = {"trusted_ca": {"filename": trusted}}
    # One of them is enough: each registry has the name by which it is called.
    validation["match_typed_subject_alt_names"] = [
        {"san_type": _san_type(host), "matcher": {"exact": host}}
        for host in dict.fromkeys(hosts)
    ]
    common: dict[str, Any] = {"validation_context": validation}
    if access.client_cert:
        certificate = {"filename": access.client_cert}
        key = {"filename": access.client_key or access.client_cert}
        common["tls_certificates"] = [
            {"certificate_chain": certificate, "private_key": key}
        ]
    context: dict[str, Any] = {
        "@type": f"{_TYPES}envoy.extensions.transport_sockets.tls.v3"
        ".UpstreamTlsContext",
        "common_tls_context": {"alpn_protocols": ["h2"], **common},
    }
    names = [host for host in hosts if _san_type(host) == "DNS"]
    if names:
        context["sni"] = names[0]
    return {"name": "envoy.transport_sockets.tls", "typed_config": context}


def _san_type(host: str) -> str:
    is_address = host.replace(".", "").isdigit() or ":" in host
    return "IP_ADDRESS" if is_address else "DNS"
