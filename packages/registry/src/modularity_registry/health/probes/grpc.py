"""The gRPC check: ``grpc.health.v1.Health/Check`` of the whole server says SERVING.

Imported with the first gRPC check: grpc takes its time and 20 MB.
"""

import ssl
from typing import Final

import grpc
from grpc_health.v1 import health_pb2  # type: ignore[import-untyped]  # no stubs

from modularity_registry.health.probes.outcome import CheckFailed
from modularity_registry.model.checks import ServiceCheck
from modularity_registry.model.location import Location

_METHOD: Final = "/grpc.health.v1.Health/Check"
_OPTIONS: Final = (
    ("grpc.enable_http_proxy", 0),
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.enable_retries", 0),
    # A pool of its own: in the shared one, checks that overlap would share a failed
    # connection's back-off, and be told of each other's failure.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", 65_536),
    ("grpc.primary_user_agent", "modularity-registry"),
)


async def check_grpc(
    location: Location,
    address: str,
    seconds: float,
    check: ServiceCheck | None = None,
    authorities: ssl.SSLContext | None = None,
) -> None:
    """Ask the server at a literal ``address``; raises `CheckFailed`.

    With a ``check``, it is asked about a service of its own, over TLS if that is set.
    ``authorities`` replaces the system's.
    """
    target = (
        f"ipv6:[{address}]:{location.port}"
        if ":" in address
        else f"ipv4:{address}:{location.port}"
    )
    async with _channel(target, location, check, authorities) as channel:
        ask = channel.unary_unary(
            _METHOD,
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        try:
            request = health_pb2.HealthCheckRequest(
                service=check.service if check else ""
            )
            reply = await ask(request, timeout=seconds)
        except grpc.aio.AioRpcError as error:
            raise _failure(error) from error
    if reply.status != health_pb2.HealthCheckResponse.SERVING:
        raise CheckFailed("status", f"the server says {_name(reply.status)}")


def _channel(
    target: str,
    location: Location,
    check: ServiceCheck | None,
    authorities: ssl.SSLContext | None,
) -> grpc.aio.Channel:
    tls = check.tls if check is not None else None
    name = tls.server_name if tls is not None else ""
    authority = f"{name}:{location.port}" if name else location.authority
    options = [*_OPTIONS, ("grpc.default_authority", authority)]
    if tls is None:
        return grpc.aio.insecure_channel(target, options=options)
    options.append(("grpc.ssl_target_name_override", name or location.host))
    credentials = grpc.ssl_channel_credentials(_roots(authorities))
    return grpc.aio.secure_channel(target, credentials, options=options)


def _roots(authorities: ssl.SSLContext | None) -> bytes | None:
    """Return the authorities as PEM; None if this machine has none to show."""
    # gRPC brings its own and doesn't know the system's.
    context = authorities or ssl.create_default_context()
    pems = map(ssl.DER_cert_to_PEM_cert, context.get_ca_certs(binary_form=True))
    return "".join(pems).encode() or None


def _name(status: int) -> str:
    try:
        return str(health_pb2.HealthCheckResponse.ServingStatus.Name(status))
    except ValueError:
        return f"status {status}"


def _failure(error: grpc.aio.AioRpcError) -> CheckFailed:
    """Only the code and grpc's own words are used, nothing that the server wrote."""
    code, details = error.code(), error.details() or ""
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return CheckFailed("timeout", "no answer in time")
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return CheckFailed(
            "protocol",
            "the server does not offer grpc.health.v1: add the health service",
        )
    if code is grpc.StatusCode.NOT_FOUND:
        return CheckFailed("status", "the server does not know this gRPC service")
    if code is not grpc.StatusCode.UNAVAILABLE:
        return CheckFailed("status", f"the health check failed with {code.name}")
    if "Connection refused" in details:
        return CheckFailed("refused", "connection refused")
    if "CERTIFICATE_VERIFY_FAILED" in details or "Hostname Verification" in details:
        return CheckFailed("tls", "the certificate is not trusted, or not for the host")
    if "SSL_ERROR" in details or "handshake" in details.lower():
        return CheckFailed("tls", "the TLS handshake failed: is it a TLS port?")
    if "failed to connect" in details:
        return CheckFailed("unreachable", "no gRPC connection could be made")
    return CheckFailed("closed", "the connection was closed without an answer")
