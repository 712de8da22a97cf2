"""Mutual TLS between sidecars, with the certificates that each keeps in its folder."""

from functools import lru_cache
from typing import Any

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import (
    DownstreamTlsContext,
    UpstreamTlsContext,
)
from google.protobuf.json_format import ParseDict

from modularity_registry.integrations.envoy.kinds import url_of
from modularity_registry.model.sidecar import (
    CERTIFICATE,
    MESH,
    MTLS,
    TRUST,
    path_of,
)


def downstream(trust_domain: str) -> dict[str, Any]:
    """Return the TLS of calls that a sidecar takes: from services of the mesh alone."""
    callers = {
        "san_type": "URI",
        "matcher": {"prefix": f"spiffe://{trust_domain}/service/"},
    }
    return _socket(
        {
            "@type": url_of(DownstreamTlsContext),
            "require_client_certificate": True,
            # A session would outlast the certificate by which it began.
            "disable_stateless_session_resumption": True,
            "disable_stateful_session_resumption": True,
            "common_tls_context": {
                "alpn_protocols": ["h2", "http/1.1"],
                **_certificates({"match_typed_subject_alt_names": [callers]}),
            },
        }
    )


@lru_cache(1)
def upstream() -> Cluster:
    """Return what a cluster has in addition, for providers that are in the mesh.

    Their certificate must name the capability: it is the host name of the endpoint.
    """
    socket = _socket(
        {
            "@type": url_of(UpstreamTlsContext),
            "auto_host_sni": True,
            "auto_sni_san_validation": True,
            "max_session_keys": 0,
            "common_tls_context": _certificates({}),
        }
    )
    match = {"name": MTLS, "match": {MESH: MTLS}, "transport_socket": socket}
    return ParseDict({"transport_socket_matches": [match]}, Cluster())


def _certificates(validation: dict[str, Any]) -> dict[str, Any]:
    return {
        # Both: a client's usual maximum is 1.2.
        "tls_params": {
            "tls_minimum_protocol_version": "TLSv1_3",
            "tls_maximum_protocol_version": "TLSv1_3",
        },
        "tls_certificate_sds_secret_configs": [_secret(CERTIFICATE)],
        "combined_validation_context": {
            "default_validation_context": validation,
            "validation_context_sds_secret_config": _secret(TRUST),
        },
    }


def _secret(name: str) -> dict[str, Any]:
    source = {"path_config_source": {"path": path_of(name)}}
    return {"name": name, "sds_config": {**source, "resource_api_version": "V3"}}


def _socket(context: dict[str, Any]) -> dict[str, Any]:
    return {"name": "envoy.transport_sockets.tls", "typed_config": context}
