"""Callers who do it wrong: each must be refused, and none may cost anything for long.

The registry's own tests have most of them, in their package ``e2e.fuzz``.
"""

import asyncio
import json
import random
import socket
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from benchmarks.harness.paths import REGISTRY_TESTS
from benchmarks.soak.callers.calls import Client
from benchmarks.soak.callers.pace import Actor
from benchmarks.soak.callers.population import stable_id

TESTS = str(REGISTRY_TESTS)
sys.path.append(TESTS)

# These are on the path only now.
from e2e.fuzz.caller import Caller, exchanges  # noqa: E402
from e2e.fuzz.crowds import Crowd  # noqa: E402
from e2e.fuzz.request import Asked  # noqa: E402

CROWD = {"silent": 5, "dripping": 5, "uploading": 3, "chunking": 3, "reading": 3}
MALFORMED = 20
"""Malformed requests a turn."""

TARGETS = (
    *("GET /api/services", "GET /api/services/hello", "GET /api/capabilities/greet"),
    *("GET /api/capabilities?limit=5", "GET /api/capabilities/greet/services"),
    *("GET /api/capabilities/greet/explain", "GET /api/events", "GET /api/graph"),
    *("GET /api/services?wait=0.1&revision=1", "GET /api/stats", "GET /metrics"),
    *("GET /health", "GET /openapi.json", "GET /api/tokens", "GET /api/whoami"),
    *("DELETE /api/services/hello", "POST /api/heartbeat/hello"),
    *("PUT /api/services/hello/drain", "DELETE /api/services/hello/drain"),
)
REGISTRATION = {
    "id": "hello", "name": "Hello", "version": "1.0.0", "capabilities": ["greet"],
    "location": "here", "mode": "embedded", "metadata": {"a": 1}, "ttl": 60,
}  # fmt: skip
BODIES: tuple[tuple[str, object], ...] = (
    ("POST /api/register", REGISTRATION),
    ("PUT /api/services/hello", REGISTRATION),
    ("POST /api/discover", {"capabilities": ["greet"], "optional": ["more"]}),
    ("POST /api/services/hello/heartbeat", {"status": "unhealthy", "note": "full"}),
    (
        "POST /api/track/invocation",
        {"consumer_id": "hello", "provider_id": "hello", "capability": "greet"},
    ),
    ("POST /api/tokens", {"name": "mine", "rights": ["admin"]}),
    ("PUT /api/capabilities/greet/split", {"v1": 90, "v2": 10}),
)
OWN = "soak-"
"""How the ids begin that are not those of malformed requests."""


class BadCallers:
    """Some with a token for reading and registering, most without or with a bad one."""

    def __init__(self, client: Client, admin: Client, rng: random.Random) -> None:
        self._client = client
        self._admin = admin
        self._rng = rng
        self._thread = ThreadPoolExecutor(1)
        self._caller = Caller(client.port, 3)
        token = f"Bearer {client.token}".encode()
        seeds = [*_seeds(), *(_with(seed, token) for seed in _seeds())]
        self._source = exchanges(seeds, rng)

    def close(self) -> None:
        """Wait until the last malformed request is through; blocks."""
        self._thread.shutdown()

    def actors(self) -> Sequence[Actor]:
        """Return what they do."""
        return [
            Actor("malformed", 1, self._send_malformed),
            Actor("clear", 0.05, self._clear),
            Actor("refused", 3, self._be_refused, 2),
            Actor("half requests", 2, self._break_off, 5),
            Actor("crowd", 1, self._crowd),
        ]

    async def _send_malformed(self) -> None:
        """Send some that are hardly HTTP, or JSON, or allowed: none gets a 5xx."""
        findings = self._caller.findings
        before = findings.calls
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(
            self._thread, self._caller.send, self._source, MALFORMED
        )
        for fault in findings.faults:
            self._client.tally.fault(f"malformed: {fault}")
        findings.faults.clear()
        findings.late.clear()
        self._client.tally.calls["malformed"] += findings.calls - before

    async def _clear(self) -> None:
        """Unregister what malformed requests have registered after all."""
        reply = await self._admin.call("list", "GET", "/api/services")
        ids = [service["id"] for service in reply.json()["services"]]
        for service_id in ids:
            if not service_id.startswith(OWN):
                path = f"/api/services/{service_id}"
                await self._admin.call("clear", "DELETE", path, expect=(200, 404))

    async def _be_refused(self) -> None:
        """Call with a mistake, which must be named."""
        path, stranger = "/api/register", f"soak-stranger-{self._rng.getrandbits(64):x}"
        body = {**REGISTRATION, "id": stranger}
        bad = {"Authorization": f"Bearer mreg_{self._rng.getrandbits(64):x}"}
        mistakes: tuple[tuple[str, str, object, tuple[int, ...], dict[str, str]], ...]
        mistakes = (
            ("POST", path, body, (401, 429), bad),
            ("GET", "/api/services", None, (401, 429), bad),
            ("POST", path, b'{"id": ', (400,), {}),
            ("POST", path, {**body, "mode": "magic", "port": 1}, (400,), {}),
            ("POST", path, body, (415,), {"Content-Type": "text/plain"}),
            ("POST", path, {**body, "location": "http://1.2.3.4", "mode": "http"},
             (400,), {}),
            ("PUT", f"/api/services/{stable_id(1)}", {**body, "id": stable_id(1)},
             (409,), {}),
            ("DELETE", f"/api/services/{stable_id(2)}", None, (409,), {}),
            ("DELETE", f"/api/services/{stranger}", None, (404,), {}),
            ("POST", "/api/tokens", {"name": "mine", "rights": ["admin"]}, (403,), {}),
            ("GET", f"/api/capabilities/{stranger}", None, (404,), {}),
            ("GET", "/api/services?limit=0&colour=red", None, (400,), {}),
            ("GET", f"/api/{stranger}", None, (404,), {}),
            ("PATCH", "/api/services", None, (405,), {}),
        )  # fmt: skip
        method, path, sent, expect, headers = self._rng.choice(mistakes)
        await self._client.call("refused", method, path, sent, expect, headers)

    async def _break_off(self) -> None:
        """Send the beginning of a request, and cut the connection."""
        self._client.tally.calls["half request"] += 1
        size = self._rng.choice((1_000, 2_000_000))
        head = f"POST /api/register HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n"
        head += f"Authorization: Bearer {self._client.token}\r\n"
        raw = f"{head}Content-Type: application/json\r\n\r\n{json.dumps(REGISTRATION)}"
        end = self._rng.randrange(1, len(raw))
        _, writer = await asyncio.open_connection(
            "127.0.0.1", self._client.port, local_addr=(self._client.address, 0)
        )
        try:
            writer.write(raw[:end].encode())
            await writer.drain()
            await asyncio.sleep(self._rng.choice((0, 0.2, 2)))
            if self._rng.random() < 0.5:  # with a reset
                linger = b"\1\0\0\0\0\0\0\0"
                sock: socket.socket = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        except ConnectionError:
            pass  # it was refused before all was sent
        finally:
            writer.close()

    async def _crowd(self) -> None:
        """Be silent, drip and hardly read, all the time."""
        await Crowd(self._client.port, CROWD).run(1e9, asyncio.Event())


def _seeds() -> list[Asked]:
    typed = ((b"Content-Type", b"application/json"),)
    calls = [(call, None) for call in TARGETS] + list(BODIES)
    seeds = []
    for call, body in calls:
        method, _, target = call.encode().partition(b" ")
        raw = None if body is None else json.dumps(body).encode()
        seeds.append(Asked(method, target, typed if raw else (), raw))
    return seeds


def _with(seed: Asked, token: bytes) -> Asked:
    return replace(seed, headers=(*seed.headers, (b"Authorization", token)))
