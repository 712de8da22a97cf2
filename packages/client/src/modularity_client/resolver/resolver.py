"""Picks providers from memory, and calls them.

A `RegistryFollower` keeps a `ProviderCache` current, and a `Resolver` picks from it. A
caller waits only on the first use of a capability.
"""

import asyncio
from collections.abc import Collection, Mapping
from contextlib import suppress
from functools import partial
from itertools import chain
from typing import Any, Self

from modularity_client.balancing import STRATEGIES, Choice, Strategy
from modularity_client.client import AsyncRegistry, Registry
from modularity_client.events.session import KEEP_ALIVE
from modularity_client.invoke.failover import Invocation
from modularity_client.invoke.invoker import Invoker
from modularity_client.locality import ZONE_THRESHOLD, nearest
from modularity_client.resolver.cache import ProviderCache
from modularity_client.resolver.change_callbacks import Callback, ChangeCallbacks
from modularity_client.resolver.errors import NoProvider
from modularity_client.resolver.lifecycle import Lifecycle, State
from modularity_client.types.registry import CallReport
from modularity_client.types.services import Service

SKIP = 10.0
"""Seconds for which a provider is skipped after its first failure."""

TIMEOUT = 5.0
"""Seconds to wait on the first use of a capability."""


class Resolver:
    """Picks healthy providers, in memory, and calls them. For threads and asyncio.

    On first use it starts one daemon thread, which follows the given ``capabilities``
    and any others that you resolve. In a child process it starts over. ``strategy`` is
    the default. With a ``consumer_id``, the id of the calling service, it reports calls
    to the registry. A provider that failed is skipped for ``skip`` seconds, longer if
    it fails again.

    If the registry's object has a ``zone``, it picks providers there while at least the
    share ``zone_threshold`` of them is healthy and not skipped, then providers of the
    region, and otherwise any: the registry's own rule. If the calls of a capability are
    split, it chooses the group first, as the registry does.

    While the registry can't be reached, it uses the last view: see `age` and `state`.
    Close it, or use it as a context, to end its thread.
    """

    def __init__(
        self,
        registry: Registry | AsyncRegistry,
        *capabilities: str,
        strategy: Strategy = "round_robin",
        consumer_id: str | None = None,
        skip: float = SKIP,
        keep_alive: float = KEEP_ALIVE,
        zone_threshold: float = ZONE_THRESHOLD,
    ) -> None:
        if strategy not in STRATEGIES:
            raise ValueError(f"{strategy!r} is not one of {', '.join(STRATEGIES)}")
        settings = registry.settings
        self._strategy: Strategy = strategy
        self._consumer_id = consumer_id
        near = partial(nearest, place=settings.place, threshold=zone_threshold)
        self._cache = ProviderCache(
            strategy, skip, near=near if settings.place.zone else None
        )
        self._pickers = self._cache.pickers
        self._change_callbacks = ChangeCallbacks(self._cache)
        self._lifecycle = Lifecycle(
            settings, self._cache, self._change_callbacks.run, keep_alive
        )
        self._invoker = Invoker(settings.tls, settings.max_reply_bytes)
        self._cache.watch(map(_checked, capabilities))

    # Picking

    def resolve(
        self,
        capability: str,
        *,
        key: str | None = None,
        strategy: Strategy | None = None,
        timeout: float = TIMEOUT,
    ) -> Service:
        """Return the provider for the next call.

        With only a ``key``, the strategy is ``hash``. It waits on the first use of a
        capability only, up to ``timeout`` seconds.

        Raises `NoProvider` if there is no provider to call, `UnknownProviders` if the
        providers are not loaded in time, `ValueError` for an unknown strategy.
        """
        if key is None and strategy is None:
            pick = self._pickers.get(capability)
            if pick is not None:
                return pick()
        choice = self._cache.choices.get(capability)
        if choice is None:
            self._lifecycle.wait_loaded(_checked(capability), timeout)
            choice = self._cache.choices.get(capability)
        return self._pick(capability, choice, strategy, key)

    async def aresolve(
        self,
        capability: str,
        *,
        key: str | None = None,
        strategy: Strategy | None = None,
        timeout: float = TIMEOUT,
    ) -> Service:
        """As `resolve`, for asyncio."""
        choice = self._cache.choices.get(capability)
        if choice is None:
            await self._lifecycle.await_loaded(_checked(capability), timeout)
            choice = self._cache.choices.get(capability)
        return self._pick(capability, choice, strategy, key)

    def providers(
        self, capability: str, *, timeout: float = TIMEOUT
    ) -> tuple[Service, ...]:
        """Return the healthy providers by id, then those with a warning; maybe none.

        Waits as `resolve` does.
        Raises `UnknownProviders`.
        """
        if capability not in self._cache.choices:
            self._lifecycle.wait_loaded(_checked(capability), timeout)
        return self._cache.usable(capability)

    def _pick(
        self,
        capability: str,
        choice: Choice | None,
        strategy: Strategy | None,
        key: str | None,
    ) -> Service:
        if choice is None:
            raise RuntimeError("this resolver is closed")
        if strategy is None:
            strategy = self._strategy if key is None else "hash"
        if not choice.services:
            raise NoProvider(capability, self.age)
        return choice.pick(strategy, key)

    # State

    @property
    def age(self) -> float:
        """Seconds since the view was known to be current; infinite before it was.

        0 while the stream is open. A connection that broke silently is noticed after
        37.5 s (2.5 keep-alives); the age then counts from the last one.
        """
        return self._cache.age

    @property
    def state(self) -> State:
        """``idle`` before first use, ``connecting``, ``live`` while the view is
        current, ``away`` while the registry can't be reached, or ``closed``.
        """
        return self._lifecycle.state

    @property
    def fault(self) -> str:
        """Why the registry can't be reached, for people; empty while it can."""
        return self._lifecycle.fault

    # Changes

    def on_change(self, callback: Callback, capability: str | None = None) -> None:
        """Call ``callback(capability, services)`` when the `providers` change.

        For this capability, or for all that are followed; at once for those that are
        loaded. Callbacks run one after the other in a thread of their own, so one that
        takes long delays the others, but not the resolver. It gets the providers as
        they are when it runs. What it raises is logged.
        """
        if capability is not None:
            self._cache.watch([_checked(capability)])
        follower = self._lifecycle.follower()
        if capability is not None:
            follower.add_capabilities([capability])
        follower.later(0, lambda: self._change_callbacks.add(capability, callback))

    # Failures and reports

    def report_failure(self, service: Service, capability: str | None = None) -> None:
        """Skip a provider that failed, and report the failure. Returns at once.

        ``capability`` is the one that you called, by default its first.
        """
        self.skip(service)
        failed = capability or next(iter(service.capabilities), None)
        if failed is not None:
            self.track(service, failed, False)

    def skip(self, service: Service) -> None:
        """Skip a provider for a while, unless all others are skipped too."""
        seconds = self._cache.skip(service.id)
        if seconds is not None:
            with suppress(RuntimeError):  # the resolver is closed
                self._lifecycle.follower().later(
                    seconds, lambda: self._cache.unskip(service.id)
                )

    def track(
        self,
        service: Service,
        capability: str,
        success: bool,
        latency_ms: float | None = None,
    ) -> None:
        """Report a call to the registry, in the background; needs a consumer_id."""
        if self._consumer_id is not None:
            report = CallReport(
                consumer_id=self._consumer_id,
                provider_id=service.id,
                capability=capability,
                success=success,
                latency_ms=latency_ms,
            )
            with suppress(RuntimeError):  # closed during the call
                self._lifecycle.follower().reporter.add(report)

    def alternative(
        self,
        capability: str,
        tried: Collection[str],
        key: str | None = None,
        strategy: Strategy | None = None,
    ) -> Service | None:
        """Return an HTTP provider that is not among the ids ``tried``; None if none is.

        A skipped provider is returned only if there is no other.
        """
        tiers = [
            [each for each in tier if each.mode == "http" and each.id not in tried]
            for tier in self._cache.tiers(capability) or ()
        ]
        untried = {each.id for tier in tiers for each in tier}
        choice = self._cache.choices.get(capability)
        near = {provider.id for provider in choice.services} if choice else set()
        not_skipped = self._cache.not_skipped(chain.from_iterable(tiers))
        for preferred in (near, not_skipped, untried):
            chosen = [
                tuple(each for each in tier if each.id in preferred) for tier in tiers
            ]
            if any(chosen):
                choice = self._cache.choice(capability, list(filter(None, chosen)))
                return self._pick(capability, choice, strategy, key)
        return None

    # Calling

    def invoke(
        self,
        capability: str,
        params: Mapping[str, Any] | None = None,
        *,
        timeout: float = 10.0,
        idempotent: bool | None = None,
        key: str | None = None,
        strategy: Strategy | None = None,
    ) -> Any:
        """Call a provider and return its ``result``; see `Invocation` for the rules.

        ``timeout`` (seconds) covers all attempts. A call whose answer was lost is
        retried at another provider if ``idempotent``; by default, unless the provider's
        metadata forbids it.

        Raises `ProviderRefused`, `ProviderLost`, and what `resolve` raises.
        """
        call = Invocation(self, capability, params, timeout, idempotent, key, strategy)
        return self._invoker.invoke(call)

    async def ainvoke(
        self,
        capability: str,
        params: Mapping[str, Any] | None = None,
        *,
        timeout: float = 10.0,
        idempotent: bool | None = None,
        key: str | None = None,
        strategy: Strategy | None = None,
    ) -> Any:
        """As `invoke`, for asyncio."""
        call = Invocation(self, capability, params, timeout, idempotent, key, strategy)
        return await self._invoker.ainvoke(call)

    # Start and end

    def start(self) -> None:
        """Start to follow the registry; does not wait for it. Idempotent."""
        self._lifecycle.follower()

    def close(self) -> None:
        """Send the last reports (1 s at most) and end the thread. Idempotent."""
        self._lifecycle.close()
        self._invoker.close()

    async def aclose(self) -> None:
        """As `close`, and closes this loop's connections to providers."""
        await self._invoker.aclose()
        await asyncio.to_thread(self.close)

    def __repr__(self) -> str:
        return f"Resolver({self.state}, {len(self._cache.choices)} capabilities)"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def _checked(capability: str) -> str:
    if not isinstance(capability, str) or not capability:
        raise ValueError("a capability must be a string, and not empty")
    return capability
