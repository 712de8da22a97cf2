"""Runs checks: the time limit, and every error made an outcome."""

import asyncio
import logging
import ssl
import time
import traceback
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from modularity_registry.health.probes.address_gate import Gate, try_each
from modularity_registry.health.probes.http import HttpChecker
from modularity_registry.health.probes.module import check_module
from modularity_registry.health.probes.outcome import Outcome, Target, explain
from modularity_registry.health.probes.tcp import check_tcp
from modularity_registry.model.checks import ServiceCheck
from modularity_registry.model.location import Location, parse_health_path
from modularity_registry.network.address_policy import AddressPolicy
from modularity_registry.network.name_lookup import NameLookup

_log = logging.getLogger(__name__)

GrpcCheck = Callable[
    [Location, str, float, ServiceCheck | None, ssl.SSLContext | None], Awaitable[None]
]


class Prober:
    """Checks services within the address policy. Belongs to one asyncio loop.

    ``ssl_context`` replaces the system's certificate authorities.
    """

    def __init__(
        self,
        policy: AddressPolicy,
        *,
        name_lookup: NameLookup | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        lookup = name_lookup or NameLookup()
        # By whether the service may be on loopback. No connection serves both.
        self._gates = {
            loopback: Gate(policy, lookup, loopback) for loopback in (True, False)
        }
        self._ssl_context = ssl_context
        self._http: dict[bool, HttpChecker] = {}
        self._grpc: GrpcCheck | None = None
        self._closed = False

    async def probe(self, target: Target) -> Outcome:
        """Check ``target`` once. Raises nothing but CancelledError."""
        mode = target.check.kind if target.check else target.registration.mode
        if mode == "grpc" and self._grpc is None:
            self._grpc = await asyncio.to_thread(_load_grpc)
        started = time.perf_counter()
        kind, message = await self._outcome(target)
        latency_ms = (time.perf_counter() - started) * 1000
        return Outcome(kind in ("ok", "warning"), latency_ms, message, kind)

    async def close(self) -> None:
        """Close all connections. Later checks say ``local``; idempotent."""
        self._closed = True
        for checker in self._http.values():
            await checker.close()

    async def _outcome(self, target: Target) -> tuple[str, str]:
        if self._closed:
            return "local", "the registry is stopping"
        looking_up = True
        try:
            async with asyncio.timeout(target.timeout):
                location = target.location
                addresses = await self._gates[target.loopback].open(location)
                looking_up = False
                return "ok", await self._check(target, location, addresses)
        except TimeoutError:
            if looking_up:
                return "dns", f"the host name lookup took over {target.timeout:g} s"
            return "timeout", f"no answer within {target.timeout:g} s"
        except Exception as error:  # whatever it is, it is the outcome
            kind, message = explain(error)
            if kind == "local":
                place = target.registration.location
                _log.warning("check of %s: %s", place, message, exc_info=True)
            _let_go(error)
            return kind, message

    async def _check(
        self, target: Target, location: Location, addresses: Sequence[str]
    ) -> str:
        if location.mode == "http":
            checker = self._http_checker(target.loopback)
            if target.check is not None and target.check.kind == "module":
                request = partial(checker.read, location)
                return await check_module(target.registration, target.check, request)
            if target.check is not None:
                return await checker.check_as(location, target.check)
            return await checker.check(location, parse_health_path(target.path))
        if location.mode == "tcp":

            async def attempt(address: str, seconds: float) -> None:
                await check_tcp(address, location.port)

            await try_each(addresses, target.timeout, attempt)
            return "connected"

        async def ask(address: str, seconds: float) -> None:
            assert self._grpc is not None  # loaded before the clock started
            await self._grpc(
                location, address, seconds, target.check, self._ssl_context
            )

        await try_each(addresses, target.timeout, ask)
        return "SERVING"

    def _http_checker(self, loopback: bool) -> HttpChecker:
        if loopback not in self._http:
            gate = self._gates[loopback]
            self._http[loopback] = HttpChecker(gate, self._ssl_context)
        return self._http[loopback]


def _let_go(error: BaseException | None) -> None:
    """Free what an error came through: the frames may hold it, as it holds them."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def _load_grpc() -> GrpcCheck:
    from modularity_registry.health.probes.grpc import check_grpc

    return check_grpc
