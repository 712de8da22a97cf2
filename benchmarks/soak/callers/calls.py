"""Calls to the registry whose outcome is stated beforehand, and what came of them."""

import asyncio
import json
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

PATIENCE = 60.0
"""Seconds for a call: a busy machine is no failure."""

TRIES = 4
"""How often a call is made that is answered with a documented 503."""

MOST_FAULTS = 200
"""So many faults are kept; all are counted."""

_UNAVAILABLE = ("store_unavailable", "not_ready")


class CallFailed(Exception):
    """A call did not come out as stated; the tally has it."""


class Tally:
    """What was called, by kind, and what went wrong."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.retries = 0
        self.fault_count = 0
        self.faults: list[str] = []

    def fault(self, text: str) -> None:
        """Note that something is wrong with the registry."""
        self.fault_count += 1
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(text)


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply with its whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body's JSON."""
        return json.loads(self.body)


class Client:
    """Calls one namespace from an address of its own, with a token that may change.

    Create it within the event loop, and close it there.
    """

    def __init__(
        self, port: int, tally: Tally, address: str, namespace: str = "default"
    ) -> None:
        self.port = port
        self.tally = tally
        self.address = address
        self.namespace = namespace
        self.token = ""
        self.session = aiohttp.ClientSession(
            f"http://127.0.0.1:{port}",
            # The registry closes what is idle for 11 s: never in the midst of a call.
            connector=aiohttp.TCPConnector(
                local_addr=(address, 0), limit=0, keepalive_timeout=5.0
            ),
            timeout=aiohttp.ClientTimeout(PATIENCE),
        )

    async def close(self) -> None:
        """Close all its connections."""
        await self.session.close()

    def path(self, path: str) -> str:
        """Return the path in this client's namespace."""
        if self.namespace == "default" or not path.startswith("/api/"):
            return path
        return f"/api/ns/{self.namespace}/{path.removeprefix('/api/')}"

    def headers(self) -> dict[str, str]:
        """Return the header with the present token, if there is one."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    async def call(
        self,
        kind: str,
        method: str,
        path: str,
        body: object = None,
        expect: Collection[int] = (200,),
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Return the reply; raises `CallFailed` for another status than expected.

        Bytes are sent as they are, everything else as JSON. As a client is told to, it
        calls again after a 503 that says that the store, or the replica, is not ready.
        """
        for last in (*[False] * (TRIES - 1), True):
            reply = await self._exchange(kind, method, path, body, headers or {})
            if reply.status in expect:
                return reply
            if last or reply.status != 503 or _code(reply) not in _UNAVAILABLE:
                break
            self.tally.retries += 1
            await asyncio.sleep(float(reply.headers.get("Retry-After", "1")))
        text = reply.body[:300].decode(errors="replace")
        raise self._failed(f"{kind}: {method} {path} got {reply.status}: {text}")

    async def _exchange(
        self,
        kind: str,
        method: str,
        path: str,
        body: object,
        headers: Mapping[str, str],
    ) -> Reply:
        self.tally.calls[kind] += 1
        data = body if isinstance(body, bytes) or body is None else _encode(body)
        typed = {} if data is None else {"Content-Type": "application/json"}
        try:
            async with self.session.request(
                method,
                self.path(path),
                data=data,
                headers={**self.headers(), **typed, **headers},
            ) as response:
                content = await response.read()
                return Reply(response.status, response.headers, content)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            text = f"{kind}: {method} {path}: {type(error).__name__} {error}"
            raise self._failed(text) from error

    def _failed(self, text: str) -> CallFailed:
        self.tally.fault(text)
        return CallFailed(text)


def _encode(body: object) -> bytes:
    return json.dumps(body).encode()


def _code(reply: Reply) -> str:
    try:
        return str(reply.json().get("code"))
    except (ValueError, AttributeError):
        return ""
