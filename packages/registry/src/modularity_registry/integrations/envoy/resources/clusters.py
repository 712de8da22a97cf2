"""Clusters: the providers of a capability, or of a group of its split, as one."""

from functools import lru_cache
from typing import Any, Final

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import UpstreamTlsContext
from envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import (
    HttpProtocolOptions,
)
from google.protobuf.json_format import ParseDict

from modularity_registry.integrations.envoy.kinds import url_of
from modularity_registry.integrations.envoy.node import Way

REGISTRY_CLUSTER: Final = "registry"
"""What a bootstrap calls the cluster of the registry itself, if not for ADS."""

GROUP: Final = "@"
"""What stands between a capability and a group of its split; in no capability."""

HTTPS: Final = "https"
MATCH: Final = "envoy.transport_socket_match"
"""Where Envoy looks for what an endpoint wants to be reached by."""

AUTHORITIES: Final = "/etc/ssl/certs/ca-certificates.crt"
"""Where Envoy's machine keeps the CAs that it trusts, as on Debian and Alpine."""

REFRESH: Final = "1s"
"""How often an Envoy asks again that is not told."""

_HTTP_OPTIONS: Final = HttpProtocolOptions.DESCRIPTOR.full_name
_PROTOCOLS: Final[dict[str, Any]] = {
    "http1": {"explicit_http_config": {"http_protocol_options": {}}},
    "http2": {"explicit_http_config": {"http2_protocol_options": {}}},
    # As the caller's own: some of the providers speak one, some the other.
    "both": {
        "use_downstream_protocol_config": {
            "http_protocol_options": {},
            "http2_protocol_options": {},
        }
    },
}


def cluster_name(capability: str, group: str = "") -> str:
    """Return the name of the cluster of a capability, or of a group of it."""
    return f"{capability}{GROUP}{group}" if group else capability


def source(way: Way) -> dict[str, Any]:
    """Return where a node gets what a resource refers to: as it got the resource."""
    if way is Way.ADS:
        return {"ads": {}, "resource_api_version": "V3"}
    registry: dict[str, Any] = {"api_type": way.name, "transport_api_version": "V3"}
    if way is Way.REST:
        registry |= {"cluster_names": [REGISTRY_CLUSTER], "refresh_delay": REFRESH}
    else:
        envoy_grpc = {"cluster_name": REGISTRY_CLUSTER}
        registry["grpc_services"] = [{"envoy_grpc": envoy_grpc}]
    return {"api_config_source": registry, "resource_api_version": "V3"}


def cluster(name: str, protocol: str, tls: bool, way: Way) -> Cluster:
    """Return the cluster with this name, whose endpoints come by themselves.

    ``protocol`` is ``http1``, ``http2`` or ``both``; with ``tls``, some of its
    endpoints want TLS.
    """
    message = Cluster()
    message.CopyFrom(_template(protocol, tls, way))
    message.name = name
    return message


@lru_cache(32)
def _template(protocol: str, tls: bool, way: Way) -> Cluster:
    content: dict[str, Any] = {
        "type": "EDS",
        "eds_cluster_config": {"eds_config": source(way)},
        "connect_timeout": "1s",
        "lb_policy": "ROUND_ROBIN",
        # Never those that the registry would not return, however few others there are.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "outlier_detection": _OUTLIERS,
        "typed_extension_protocol_options": {_HTTP_OPTIONS: _options(protocol)},
    }
    if tls:
        content["transport_socket_matches"] = [_tls()]
    return ParseDict(content, Cluster())


def _options(protocol: str) -> dict[str, Any]:
    return {"@type": url_of(HttpProtocolOptions), **_PROTOCOLS[protocol]}


# Who can't be connected to is left alone for a while, before a check has found out.
# What a provider answers says nothing: that is for the registry's checks.
_OUTLIERS: Final = {
    "split_external_local_origin_errors": True,
    "consecutive_local_origin_failure": 2,
    "base_ejection_time": "5s",
    "max_ejection_percent": 50,
    "enforcing_consecutive_5xx": 0,
    "enforcing_consecutive_gateway_failure": 0,
    "enforcing_success_rate": 0,
    "enforcing_local_origin_success_rate": 0,
}


def _tls() -> dict[str, Any]:
    return {
        "name": HTTPS,
        "match": {"scheme": HTTPS},
        "transport_socket": {
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": url_of(UpstreamTlsContext),
                "auto_host_sni": True,
                "auto_sni_san_validation": True,
                "common_tls_context": {
                    "validation_context": {"trusted_ca": {"filename": AUTHORITIES}}
                },
            },
        },
    }
