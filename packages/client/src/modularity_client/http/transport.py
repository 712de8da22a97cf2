"""Runs calls over HTTP: one driver for threads, one for asyncio.

Connections belong to the process that opened them, and with asyncio to its loop.
"""

import asyncio
import os
import ssl
import threading
import time
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx

from modularity_client.http.call import Call, Reply, check_timeout
from modularity_client.http.credentials import Credentials
from modularity_client.http.endpoints import Endpoints
from modularity_client.http.loop_clients import LoopClients
from modularity_client.http.reply_body import (
    MAX_REPLY_BYTES,
    PLAIN,
    TOO_LATE,
    aread_body,
    read_body,
)
from modularity_client.http.retry import Attempts, Failure, Pause, Send, attempts
from modularity_client.locality import NOWHERE, Place

ResultT = TypeVar("ResultT")

# No limit: each caller has a thread or a task of its own already.
LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=20)

# Errors before the request was sent. After any other, it may have arrived.
NOT_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
)


@dataclass(frozen=True, slots=True)
class Settings:
    """How to reach a registry; ``timeout`` is the seconds that a call may take.

    ``max_reply_bytes`` is the longest reply that is read, ``place`` is where the caller
    is, ``namespace`` what its calls are in: empty for the default one.
    """

    urls: tuple[str, ...]
    credentials: Credentials
    timeout: float
    tls: ssl.SSLContext | None
    max_reply_bytes: int = MAX_REPLY_BYTES
    place: Place = NOWHERE
    namespace: str = ""

    def __post_init__(self) -> None:
        check_timeout(self.timeout)
        if self.max_reply_bytes < 1:
            raise ValueError("max_reply_bytes must be a number of bytes above 0")

    @property
    def shown(self) -> str:
        """The URLs and the namespace, for people."""
        within = f", namespace={self.namespace!r}" if self.namespace else ""
        return ", ".join(self.urls) + within

    def options(self) -> dict[str, Any]:
        """Return the arguments of an httpx client."""
        context = self.tls
        if context is None and any(url.startswith("https:") for url in self.urls):
            context = ssl.create_default_context()
        return {
            # Without TLS, an empty context saves loading all certificates.
            "verify": context or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            "limits": LIMITS,
            "headers": self.place.header(),
            # A registry is near: ignore the environment's proxies and .netrc.
            "trust_env": False,
            "follow_redirects": False,
        }

    def attempts(
        self, call: Call[ResultT], endpoints: Endpoints, timeout: float | None
    ) -> Attempts[ResultT]:
        """Return the plan of a call."""
        seconds = self.timeout if timeout is None else timeout
        call = call.within(self.namespace)
        return attempts(call, endpoints, time.monotonic, seconds, self.credentials)


class Driver:
    """Runs calls in the caller's thread."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.endpoints = Endpoints(settings.urls)
        self._closed = threading.Event()
        # By process: a child that used its parent's connections would read the
        # parent's replies. The parent's client stays here, since closing it would end
        # TLS on connections that the parent is using.
        self._clients: dict[int, httpx.Client] = {}

    @property
    def server(self) -> str:
        """The URL to which the next call goes: the one that answered last."""
        return self.endpoints.order(time.monotonic())[0]

    def client(self) -> httpx.Client:
        """Return this process's HTTP client; raises `RuntimeError` once closed."""
        if self._closed.is_set():
            raise RuntimeError("this registry's client has been closed")
        client = self._clients.get(os.getpid())
        if client is None:
            # Two threads that come here at once both get the first client.
            new_client = httpx.Client(**self.settings.options())
            client = self._clients.setdefault(os.getpid(), new_client)
        return client

    def run(self, call: Call[ResultT], timeout: float | None = None) -> ResultT:
        """Make a call; returns and raises what `attempts` does."""
        plan = self.settings.attempts(call, self.endpoints, timeout)
        outcome: Reply | Failure | None = None
        while True:
            try:
                step = plan.send(outcome)
            except StopIteration as done:
                result: ResultT = done.value
                return result
            if isinstance(step, Send):
                outcome = self._send(step)
            else:
                self._closed.wait(step.seconds)
                outcome = None

    def close(self) -> None:
        """Close this process's connections. Idempotent."""
        self._closed.set()
        client = self._clients.pop(os.getpid(), None)
        if client is not None:
            client.close()

    def _send(self, send: Send) -> Reply | Failure:
        client = self.client()
        try:
            with client.stream(**_request(send)) as response:
                limit = self.settings.max_reply_bytes
                return _reply(response, read_body(response, limit, send.deadline))
        except httpx.HTTPError as error:
            return _failure(error)


class AsyncDriver:
    """Runs calls as coroutines of the loop that awaits them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.endpoints = Endpoints(settings.urls)
        self._closed = False
        self._clients = LoopClients(lambda: httpx.AsyncClient(**settings.options()))

    def client(self) -> httpx.AsyncClient:
        """Return this loop's HTTP client; raises `RuntimeError` once closed."""
        if self._closed:
            raise RuntimeError("this registry's client has been closed")
        return self._clients.get()

    async def run(self, call: Call[ResultT], timeout: float | None = None) -> ResultT:
        """Make a call; returns and raises what `attempts` does."""
        plan = self.settings.attempts(call, self.endpoints, timeout)
        outcome: Reply | Failure | None = None
        while True:
            try:
                step = plan.send(outcome)
            except StopIteration as done:
                result: ResultT = done.value
                return result
            if isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
                outcome = None
            else:
                outcome = await self._send(step)

    async def close(self) -> None:
        """Close this loop's connections. Idempotent."""
        self._closed = True
        await self._clients.close()

    async def _send(self, send: Send) -> Reply | Failure:
        client = self.client()
        try:
            async with asyncio.timeout(send.deadline - time.monotonic()):
                async with client.stream(**_request(send)) as response:
                    limit = self.settings.max_reply_bytes
                    return _reply(response, await aread_body(response, limit))
        except TimeoutError:
            return Failure(TOO_LATE, sent=True)
        except httpx.HTTPError as error:
            return _failure(error)


def _request(send: Send) -> dict[str, Any]:
    timeout = httpx.Timeout(
        connect=send.connect, read=send.read, write=send.read, pool=send.connect
    )
    return {
        "method": send.method,
        "url": send.url,
        "headers": {**send.headers, **PLAIN},
        "content": send.body,
        "timeout": timeout,
    }


def _reply(response: httpx.Response, body: bytes) -> Reply:
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Reply(response.status_code, headers, body)


def _failure(error: httpx.HTTPError) -> Failure:
    if isinstance(error, httpx.TimeoutException):
        message = TOO_LATE
    else:
        message = str(error) or type(error).__name__
    return Failure(message, sent=not isinstance(error, NOT_SENT))
