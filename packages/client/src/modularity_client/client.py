"""The client: `Registry` for threads, `AsyncRegistry` for asyncio.

Both have the same methods, one for each call in `calls`.
"""

import inspect
import os
import ssl
from collections.abc import (
    AsyncIterator,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Sequence,
)
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, Unpack, get_args

from modularity_client import calls
from modularity_client.events.stream import AsyncEventStream, EventStream
from modularity_client.http.call import Answer, Call
from modularity_client.http.credentials import find_credentials
from modularity_client.http.endpoints import parse_urls
from modularity_client.http.reply_body import MAX_REPLY_BYTES
from modularity_client.http.transport import AsyncDriver, Driver, Settings
from modularity_client.locality import Place, find_place
from modularity_client.membership.membership import Joining, Membership
from modularity_client.namespaces import find_namespace
from modularity_client.types.services import Filters, Service

DEFAULT_URL = "http://127.0.0.1:5000"

P = ParamSpec("P")
T = TypeVar("T")


def _settings(
    url: str | Sequence[str] | None,
    token: str | None,
    token_file: str | os.PathLike[str] | None,
    timeout: float,
    tls: ssl.SSLContext | None,
    max_reply_bytes: int,
    place: Place,
    namespace: str | None,
) -> Settings:
    if url is None:
        url = os.environ.get("REGISTRY_URL") or DEFAULT_URL
    credentials = find_credentials(token, token_file)
    return Settings(
        parse_urls(url),
        credentials,
        timeout,
        tls,
        max_reply_bytes,
        place,
        find_namespace(namespace),
    )


def _method(make: Callable[..., Any], method: Callable[..., Any]) -> None:
    """Give a method the name, the docstring and the signature of its call."""
    wraps(make)(method)
    signature = inspect.signature(make)
    (returned,) = get_args(signature.return_annotation)
    first = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    parameters = [first, *signature.parameters.values()]
    if parameters[1:] and parameters[1].kind is not inspect.Parameter.POSITIONAL_ONLY:
        parameters[0] = first.replace(kind=inspect.Parameter.POSITIONAL_OR_KEYWORD)
    method.__signature__ = signature.replace(  # type: ignore[attr-defined]  # inspect
        parameters=parameters, return_annotation=returned
    )


def _sync(make: Callable[P, Call[T]]) -> Callable[Concatenate["Registry", P], T]:
    def method(self: "Registry", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._driver.run(make(*args, **kwargs))

    _method(make, method)
    return method


def _async(
    make: Callable[P, Call[T]],
) -> Callable[Concatenate["AsyncRegistry", P], Coroutine[Any, Any, T]]:
    async def method(self: "AsyncRegistry", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._driver.run(make(*args, **kwargs))

    _method(make, method)
    return method


class Registry:
    """A registry, for code that runs in threads.

    ``url`` is one URL, several with commas, or a list: all of one registry, the best
    first. The default is ``REGISTRY_URL``, or ``http://127.0.0.1:5000``. ``token``
    defaults to ``REGISTRY_TOKEN``; an empty token is none. ``token_file``, or
    ``REGISTRY_TOKEN_FILE``, names a file with the token instead, which is read again
    when the token is refused. A call may take ``timeout`` seconds with all its retries,
    plus its ``wait``. ``tls`` is for a private CA or a client certificate. A reply of
    more than ``max_reply_bytes`` is a `BadReply`. ``zone`` and ``region`` say where you
    are, by default ``REGISTRY_ZONE`` and ``REGISTRY_REGION``: you get providers there
    first, and what you `join` is registered there. ``namespace``, by default
    ``REGISTRY_NAMESPACE``, is what all of it is in: calls, streams, memberships and
    resolvers; ``default`` is none.

    Raises `ValueError` for an invalid URL, token, zone or namespace. Calls raise
    `RegistryError`. All threads can share one object, and so can the children of a
    fork.
    """

    def __init__(
        self,
        url: str | Sequence[str] | None = None,
        token: str | None = None,
        *,
        token_file: str | os.PathLike[str] | None = None,
        timeout: float = 5.0,
        tls: ssl.SSLContext | None = None,
        max_reply_bytes: int = MAX_REPLY_BYTES,
        zone: str | None = None,
        region: str | None = None,
        namespace: str | None = None,
    ) -> None:
        place = find_place(zone, region)
        self.settings = _settings(
            url, token, token_file, timeout, tls, max_reply_bytes, place, namespace
        )
        self._driver = Driver(self.settings)

    register = _sync(calls.register)
    put = _sync(calls.put)
    services = _sync(calls.services)
    service = _sync(calls.service)
    unregister = _sync(calls.unregister)
    drain = _sync(calls.drain)
    undrain = _sync(calls.undrain)
    heartbeat = _sync(calls.heartbeat)
    report_check = _sync(calls.report_check)
    capability = _sync(calls.capability)
    capabilities = _sync(calls.capabilities)
    providers = _sync(calls.providers)
    explain = _sync(calls.explain)
    split = _sync(calls.split)
    set_split = _sync(calls.set_split)
    end_split = _sync(calls.end_split)
    splits = _sync(calls.splits)
    discover = _sync(calls.discover)
    namespaces = _sync(calls.namespaces)
    stats = _sync(calls.stats)
    health = _sync(calls.health)
    ready = _sync(calls.ready)
    track_invocation = _sync(calls.track_invocation)
    track_invocations = _sync(calls.track_invocations)
    connections = _sync(calls.connections)
    graph = _sync(calls.graph)
    tokens = _sync(calls.tokens)
    own_token = _sync(calls.own_token)
    create_token = _sync(calls.create_token)
    rotate_token = _sync(calls.rotate_token)
    revoke_token = _sync(calls.revoke_token)

    def ask(self, call: Call[T]) -> Answer[T]:
        """Make a call of `modularity_client.calls`; return its result and the reply.

        The reply has the headers, and fields that a newer registry adds.
        """
        return self._driver.run(call.with_reply())

    def iter_services(
        self, *, limit: int = 500, **filters: Unpack[Filters]
    ) -> Iterator[Service]:
        """Yield all services by id, read in pages of ``limit``."""
        cursor: str | None = None
        while True:
            page = self.services(limit=limit, cursor=cursor, **filters)
            yield from page
            if page.next is None:
                return
            cursor = page.next

    def events(
        self,
        *,
        capabilities: Iterable[str] = (),
        services: Iterable[str] = (),
        last_event_id: str | None = None,
    ) -> EventStream:
        """Return a stream of changes: see `EventStream`."""
        return EventStream(self.settings, capabilities, services, last_event_id)

    def join(self, **joining: Unpack[Joining]) -> Membership:
        """Return the membership of a service, for ``with``: see `Membership`."""
        return Membership(self.settings, **joining)

    def __repr__(self) -> str:
        return f"Registry({self.settings.shown})"

    def close(self) -> None:
        """Close the connections of this process. Idempotent."""
        self._driver.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncRegistry:
    """A registry, for asyncio: as `Registry`, but you await its calls.

    All loops can share one object; close it in each loop that used it.
    """

    def __init__(
        self,
        url: str | Sequence[str] | None = None,
        token: str | None = None,
        *,
        token_file: str | os.PathLike[str] | None = None,
        timeout: float = 5.0,
        tls: ssl.SSLContext | None = None,
        max_reply_bytes: int = MAX_REPLY_BYTES,
        zone: str | None = None,
        region: str | None = None,
        namespace: str | None = None,
    ) -> None:
        place = find_place(zone, region)
        self.settings = _settings(
            url, token, token_file, timeout, tls, max_reply_bytes, place, namespace
        )
        self._driver = AsyncDriver(self.settings)

    register = _async(calls.register)
    put = _async(calls.put)
    services = _async(calls.services)
    service = _async(calls.service)
    unregister = _async(calls.unregister)
    drain = _async(calls.drain)
    undrain = _async(calls.undrain)
    heartbeat = _async(calls.heartbeat)
    report_check = _async(calls.report_check)
    capability = _async(calls.capability)
    capabilities = _async(calls.capabilities)
    providers = _async(calls.providers)
    explain = _async(calls.explain)
    split = _async(calls.split)
    set_split = _async(calls.set_split)
    end_split = _async(calls.end_split)
    splits = _async(calls.splits)
    discover = _async(calls.discover)
    namespaces = _async(calls.namespaces)
    stats = _async(calls.stats)
    health = _async(calls.health)
    ready = _async(calls.ready)
    track_invocation = _async(calls.track_invocation)
    track_invocations = _async(calls.track_invocations)
    connections = _async(calls.connections)
    graph = _async(calls.graph)
    tokens = _async(calls.tokens)
    own_token = _async(calls.own_token)
    create_token = _async(calls.create_token)
    rotate_token = _async(calls.rotate_token)
    revoke_token = _async(calls.revoke_token)

    async def ask(self, call: Call[T]) -> Answer[T]:
        """Make a call of `modularity_client.calls`; return its result and the reply."""
        return await self._driver.run(call.with_reply())

    async def iter_services(
        self, *, limit: int = 500, **filters: Unpack[Filters]
    ) -> AsyncIterator[Service]:
        """Yield all services by id, read in pages of ``limit``."""
        cursor: str | None = None
        while True:
            page = await self.services(limit=limit, cursor=cursor, **filters)
            for service in page:
                yield service
            if page.next is None:
                return
            cursor = page.next

    def events(
        self,
        *,
        capabilities: Iterable[str] = (),
        services: Iterable[str] = (),
        last_event_id: str | None = None,
    ) -> AsyncEventStream:
        """Return a stream of changes: see `AsyncEventStream`."""
        return AsyncEventStream(self.settings, capabilities, services, last_event_id)

    def join(self, **joining: Unpack[Joining]) -> Membership:
        """Return the membership of a service, to use with ``async with``."""
        return Membership(self.settings, **joining)

    def __repr__(self) -> str:
        return f"AsyncRegistry({self.settings.shown})"

    async def close(self) -> None:
        """Close the connections of this loop. Idempotent."""
        await self._driver.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
