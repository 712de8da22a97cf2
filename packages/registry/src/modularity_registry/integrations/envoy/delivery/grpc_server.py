"""The port at which Envoy and gRPC clients have streams of resources."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from ipaddress import ip_address
from typing import Any, Final, TypeAlias
from urllib.parse import unquote

import grpc
from envoy.service.discovery.v3.discovery_pb2 import (
    DeltaDiscoveryRequest,
    DiscoveryRequest,
)
from google.protobuf.message import DecodeError

from modularity_registry import tasks
from modularity_registry.api import rate_limits
from modularity_registry.api.authorization import Authenticator
from modularity_registry.errors import (
    BadSetting,
    Forbidden,
    RegistryError,
    TooManyRequests,
    TooManyWatchers,
    TooManyWatchersOfClient,
    Unauthorized,
)
from modularity_registry.events import KEEP_ALIVE
from modularity_registry.integrations.envoy.delivery import port
from modularity_registry.integrations.envoy.delivery.fan_out import FanOut
from modularity_registry.integrations.envoy.delivery.streams import Stream
from modularity_registry.integrations.envoy.delivery.subscriptions import (
    MOST_NAMES,
    TooManyNames,
)
from modularity_registry.integrations.envoy.kinds import BY_URL, Kind
from modularity_registry.integrations.envoy.node import Way, node_of
from modularity_registry.integrations.envoy.nodes import Nodes
from modularity_registry.integrations.envoy.resources.source import Sources
from modularity_registry.model.rights import Caller, Right
from modularity_registry.runtime import Registry
from modularity_registry.serving import certificates
from modularity_registry.serving.certificates import Files

Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"

_SERVICES: Final = {
    Kind.CLUSTERS: "envoy.service.cluster.v3.ClusterDiscoveryService",
    Kind.ENDPOINTS: "envoy.service.endpoint.v3.EndpointDiscoveryService",
    Kind.LISTENERS: "envoy.service.listener.v3.ListenerDiscoveryService",
    Kind.ROUTES: "envoy.service.route.v3.RouteDiscoveryService",
}
_ALL: Final = "envoy.service.discovery.v3.AggregatedDiscoveryService"

_CODES: Final[tuple[tuple[type[RegistryError], grpc.StatusCode], ...]] = (
    (Unauthorized, grpc.StatusCode.UNAUTHENTICATED),
    (Forbidden, grpc.StatusCode.PERMISSION_DENIED),
    (TooManyRequests, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (TooManyWatchers, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (TooManyWatchersOfClient, grpc.StatusCode.RESOURCE_EXHAUSTED),
)

_REVOKED: Final = "the token has been revoked or has expired; send another one"

_OPTIONS: Final = (
    # A node that has vanished without a word is found out, and one that looks for the
    # registry in the same way is not sent away for it.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.max_receive_message_length", 4 << 20),
)


class XdsServer:
    """Serves streams by gRPC; each takes a place for watchers."""

    def __init__(self, registry: Registry, sources: Sources, nodes: Nodes) -> None:
        self._registry = registry
        self._sources = sources
        self._nodes = nodes
        self._fan_out = FanOut()
        self._authenticator = Authenticator(registry)
        self._callers: dict[asyncio.Task[Any], Caller] = {}
        self._dismissed: set[asyncio.Task[Any]] = set()
        self._server: grpc.aio.Server | None = None
        self._watch: asyncio.Task[None] | None = None
        sources.listen(self._fan_out.tell)

    async def start(self) -> None:
        """Serve from now on; raises `BadSetting` if the port can't be had."""
        settings = self._registry.settings
        shared = ("grpc.so_reuseport", int(settings.workers > 1))
        server = grpc.aio.server(options=(*_OPTIONS, shared))
        server.add_generic_rpc_handlers(self._handlers())
        where = port.address(settings)
        files = Files.of(settings)
        try:
            if files is None:
                server.add_insecure_port(where)
            else:
                server.add_secure_port(where, _credentials(files))
        except RuntimeError as error:
            raise port.taken(settings, error) from error
        await server.start()
        self._server = server
        self._fan_out.start()
        if self._registry.tokens is not None:
            self._registry.tokens.listen(self._dismiss)
            self._watch = tasks.start("envoy-tokens", self._dismiss_in_time())

    async def stop(self) -> None:
        """End all streams. Idempotent."""
        server, self._server = self._server, None
        if server is not None:
            await tasks.cancel(self._watch)
            await server.stop(None)
            await self._fan_out.stop()

    def _handlers(self) -> tuple[grpc.GenericRpcHandler, ...]:
        services: dict[str, dict[str, Any]] = {
            _ALL: {
                "StreamAggregatedResources": self._handler(None, Way.ADS, False),
                "DeltaAggregatedResources": self._handler(None, Way.ADS, True),
            }
        }
        for kind, service in _SERVICES.items():
            name = kind.label.title()
            services[service] = {
                f"Stream{name}": self._handler(kind, Way.GRPC, False),
                f"Delta{name}": self._handler(kind, Way.DELTA_GRPC, True),
            }
        return tuple(
            grpc.method_handlers_generic_handler(service, methods)
            for service, methods in services.items()
        )

    def _handler(self, kind: Kind | None, way: Way, is_delta: bool) -> Any:
        async def serve(_: object, context: Context) -> None:
            try:
                async with self._admitted(context):
                    await self._serve(context, kind, way, is_delta)
            except RegistryError as error:
                await context.abort(_code(error), error.detail)

        return grpc.stream_stream_rpc_method_handler(serve)

    @asynccontextmanager
    async def _admitted(self, context: Context) -> AsyncIterator[None]:
        """Hold a place for as long as a caller may have it.

        Raises `RegistryError` for a caller without the right, or without a place.
        """
        task = asyncio.current_task()
        assert task is not None
        environ = {"REMOTE_ADDR": _address(context.peer())}
        caller = self._authenticator.caller_of(_authorization(context))
        try:
            caller.require(Right.READ)
        except Unauthorized as error:
            raise rate_limits.unauthorized(
                self._registry.rates, error, environ
            ) from None
        client = rate_limits.client_of(environ, caller)
        places = self._registry.hub.places
        places.require(client)
        places.take(client)
        self._callers[task] = caller
        try:
            yield
        except asyncio.CancelledError:
            if task not in self._dismissed:
                raise
            raise Unauthorized(_REVOKED, shown=True) from None
        finally:
            places.free(client)
            del self._callers[task]
            self._dismissed.discard(task)

    def _dismiss(self) -> None:
        """End the streams whose tokens count for nothing any more."""
        tokens = self._registry.tokens
        for task, caller in self._callers.items():
            if tokens is not None and not tokens.holds(caller):
                self._dismissed.add(task)
                task.cancel()

    async def _dismiss_in_time(self) -> None:
        while True:
            await asyncio.sleep(KEEP_ALIVE)
            self._dismiss()

    async def _serve(
        self, context: Context, kind: Kind | None, way: Way, is_delta: bool
    ) -> None:
        parse = (DeltaDiscoveryRequest if is_delta else DiscoveryRequest).FromString
        request = await self._read(context, parse)
        if request is None:
            return
        snapshot = self._sources.for_node(node_of(request.node, way))
        stream = Stream(snapshot, self._nodes, context.write, is_delta)
        self._fan_out.join(stream)
        writer = tasks.start("envoy-stream", _run(stream))
        writer.add_done_callback(partial(_end_if_failed, asyncio.current_task()))
        try:
            while request is not None:
                await self._take(context, stream, kind, request)
                request = await self._read(context, parse)
        finally:
            self._fan_out.leave(stream)
            stream.close()
            await tasks.cancel(writer)

    async def _take(
        self, context: Context, stream: Stream, kind: Kind | None, request: Any
    ) -> None:
        of_request = BY_URL.get(request.type_url) if request.type_url else kind
        if of_request is None or kind not in (of_request, None):
            # Such as secrets: the node goes on with what there is.
            return
        try:
            stream.take(of_request, request)
        except TooManyNames:
            await context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"a stream may name {MOST_NAMES} resources of a kind; name fewer, or"
                " ask for all with *",
            )

    async def _read(self, context: Context, parse: Callable[[bytes], Any]) -> Any:
        """Return the next request; None if there is none any more."""
        content: Any = await context.read()
        if content is grpc.aio.EOF:
            return None
        try:
            return parse(content)
        except DecodeError:
            await context.abort(
                grpc.StatusCode.INVALID_ARGUMENT,
                "this is no discovery request of xDS v3",
            )


async def _run(stream: Stream) -> None:
    # Of a node that is gone, the reader ends the stream.
    with suppress(grpc.aio.UsageError, grpc.aio.InternalError, grpc.RpcError):
        await stream.run()


def _end_if_failed(
    reader: asyncio.Task[Any] | None, writer: asyncio.Task[None]
) -> None:
    """End a stream on which nothing can be sent any more: the node comes back."""
    if reader is not None and not writer.cancelled() and writer.exception():
        reader.cancel()


def _code(error: RegistryError) -> grpc.StatusCode:
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code
    return grpc.StatusCode.INTERNAL


def _authorization(context: Context) -> str | None:
    metadata: Any = context.invocation_metadata() or ()
    return next((str(v) for key, v in metadata if key == "authorization"), None)


def _address(peer: str) -> str:
    """Return the address in what gRPC calls a peer, such as ``ipv4:10.0.0.5:40000``."""
    _, _, place = peer.partition(":")
    host = unquote(place.rpartition(":")[0]).strip("[]")
    try:
        return str(ip_address(host))
    except ValueError:
        return peer


def _credentials(files: Files) -> grpc.ServerCredentials:
    """Return the registry's certificate, and the next one once its files change."""
    served = ""

    def configuration() -> Any:
        nonlocal served
        try:
            contents = files.read()
            digest = certificates.digest(contents)
            if digest == served:
                return None
            certificates.load(files, contents)
        except BadSetting:
            if not served:
                raise
            return None  # Its port for HTTP says so.
        served = digest
        chain, key, *authorities = contents
        return grpc.ssl_server_certificate_configuration(
            [(key, chain)], authorities[0] if authorities else None
        )

    return grpc.dynamic_ssl_server_credentials(
        configuration(), configuration, files.client_ca is not None
    )
