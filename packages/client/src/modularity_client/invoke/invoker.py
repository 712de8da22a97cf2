"""Calls providers by the module contract, for threads and for asyncio."""

import asyncio
import ssl
import threading
from contextlib import aclosing, closing
from typing import Any

import httpx

from modularity_client import _fork
from modularity_client.errors import BadReply
from modularity_client.http.loop_clients import LoopClients
from modularity_client.http.reply_body import (
    MAX_REPLY_BYTES,
    PLAIN,
    TOO_LATE,
    aread_body,
    read_body,
)
from modularity_client.invoke.failover import Invocation

LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=100)


class Invoker:
    """Makes calls; keeps its connections for the next call."""

    def __init__(
        self, tls: ssl.SSLContext | None, max_reply_bytes: int = MAX_REPLY_BYTES
    ) -> None:
        self._tls = tls
        self._max_reply_bytes = max_reply_bytes
        self._reset()
        _fork.register(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._client: httpx.Client | None = None
        self._clients = LoopClients(lambda: httpx.AsyncClient(**self._options()))

    def invoke(self, call: Invocation) -> Any:
        """Call from a thread; see `Invocation`."""
        call.begin(call.providers.resolve(call.capability, **call.resolve_options))
        client = self._client or self._open()
        while True:
            try:
                status, body = _exchange(client, call, self._max_reply_bytes)
            except (httpx.HTTPError, httpx.InvalidURL, BadReply) as error:
                call.failed(error)
            else:
                if call.answered(status, body):
                    return call.result

    async def ainvoke(self, call: Invocation) -> Any:
        """Call from a task; see `Invocation`."""
        providers, options = call.providers, call.resolve_options
        call.begin(await providers.aresolve(call.capability, **options))
        client = self._clients.get()
        while True:
            try:
                status, body = await _aexchange(client, call, self._max_reply_bytes)
            except (httpx.HTTPError, httpx.InvalidURL, BadReply) as error:
                call.failed(error)
            else:
                if call.answered(status, body):
                    return call.result

    def close(self) -> None:
        """Close the connections of threads. Idempotent."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    async def aclose(self) -> None:
        """Close the connections of this loop. Idempotent."""
        await self._clients.close()

    def forked(self) -> None:
        """Drop the parent's connections; called by `_fork` only."""
        _fork.abandoned.extend((self._client, *self._clients.all()))
        self._reset()

    def _options(self) -> dict[str, Any]:
        # Providers are near, as the registry is: ignore the environment's proxies.
        self._tls = self._tls or ssl.create_default_context()
        return {
            "verify": self._tls,
            "limits": LIMITS,
            "trust_env": False,
            "headers": PLAIN,
        }

    def _open(self) -> httpx.Client:
        with self._lock:
            if self._client is None:
                self._client = httpx.Client(**self._options())
            return self._client


def _exchange(
    client: httpx.Client, call: Invocation, max_bytes: int
) -> tuple[int, bytes]:
    with closing(client.send(call.request(client), stream=True)) as response:
        body = read_body(response, max_bytes, call.deadline)
        return response.status_code, body


async def _aexchange(
    client: httpx.AsyncClient, call: Invocation, max_bytes: int
) -> tuple[int, bytes]:
    try:
        async with asyncio.timeout(call.remaining):
            response = await client.send(call.request(client), stream=True)
            async with aclosing(response):
                return response.status_code, await aread_body(response, max_bytes)
    except TimeoutError:
        raise httpx.ReadTimeout(TOO_LATE) from None
