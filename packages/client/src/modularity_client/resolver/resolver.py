"""Who is to be called next, answered from memory: a view that the registry keeps fresh.

The stream of events fills it (`Follower`), the `Board` holds it, and what is here asks
the board. A thread waits only for a capability that was never asked for before.
"""

import asyncio
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any, Self

from modularity_client.balancing import STRATEGIES, Choice, Strategy
from modularity_client.client import AsyncRegistry, Registry
from modularity_client.events.session import KEEP_ALIVE
from modularity_client.invoke.invoker import Invoker
from modularity_client.resolver.cache import Board
from modularity_client.resolver.call_reports import Report
from modularity_client.resolver.errors import NoProvider
from modularity_client.resolver.lifecycle import Keeper, State
from modularity_client.resolver.listeners import Callback, Listeners
from modularity_client.types.services import Service

SKIP = 10.0
"""Seconds for which a provider that failed is skipped, at first."""

TIMEOUT = 5.0
"""Seconds to wait for a capability that was never asked for before."""


class Resolver:
    """Picks healthy providers, in memory, and calls them. For threads and asyncio.

    It begins to follow the registry (a `Registry` or an `AsyncRegistry`) when it is
    first asked, in one daemon thread, for the ``capabilities`` given and whatever else
    it is asked for. In a child process it begins anew. ``strategy`` is the usual one.
    With a ``consumer_id``, the id of whoever calls, the registry is told of the calls.
    A provider that failed is skipped for ``skip`` seconds, longer if it fails again.

    While the registry is away it goes on with what it knows: see `age` and `state`.
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
    ) -> None:
        if strategy not in STRATEGIES:
            raise ValueError(f"{strategy!r} is not one of {', '.join(STRATEGIES)}")
        # One package: how to reach the registry is no business of anybody else's.
        settings = registry._driver.settings
        self._strategy: Strategy = strategy
        self._consumer_id = consumer_id
        self._board = Board(strategy, skip)
        self._ready = self._board.ready
        self._listeners = Listeners(self._board)
        self._keeper = Keeper(
            settings, self._board, self._listeners.changed, keep_alive
        )
        self._invoker = Invoker(self, settings.tls)
        self._board.watch(map(_checked, capabilities))

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

        With a ``key`` alone the strategy is ``hash``. Only for a capability that was
        never asked for does it wait, up to ``timeout`` seconds.

        Raises `NoProvider` when nobody healthy provides it, `UnknownProviders` when
        that can't be known, `ValueError` for a strategy that there is not.
        """
        if key is None and strategy is None:
            pick = self._ready.get(capability)
            if pick is not None:
                return pick()
        choice = self._board.choices.get(capability)
        if choice is None:
            self._keeper.wait_known(_checked(capability), timeout)
            choice = self._board.choices.get(capability)
        return self._pick(capability, choice, strategy, key)

    async def aresolve(
        self,
        capability: str,
        *,
        key: str | None = None,
        strategy: Strategy | None = None,
        timeout: float = TIMEOUT,
    ) -> Service:
        """As `resolve`, but lets other tasks run where that would wait."""
        choice = self._board.choices.get(capability)
        if choice is None:
            await self._keeper.await_known(_checked(capability), timeout)
            choice = self._board.choices.get(capability)
        return self._pick(capability, choice, strategy, key)

    def providers(
        self, capability: str, *, timeout: float = TIMEOUT
    ) -> tuple[Service, ...]:
        """Return the healthy providers by id, perhaps none; waits as `resolve` does.

        Raises `UnknownProviders`.
        """
        if capability not in self._board.choices:
            self._keeper.wait_known(_checked(capability), timeout)
        return self._board.healthy(capability) or ()

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

    # How it stands

    @property
    def age(self) -> float:
        """Seconds since the view was known to be current; infinite before it was.

        0 while the stream is there. A line that died without a word is found out after
        2.5 signs of life are missing, 37.5 s; the age then counts from the last one.
        """
        return self._board.age

    @property
    def state(self) -> State:
        """``idle`` before it is used, ``live`` while the view is current, ``away``
        while the registry can't be reached.
        """
        return self._keeper.state

    @property
    def fault(self) -> str:
        """Why it is away, for people; empty when it isn't."""
        return self._keeper.fault

    # Being told

    def on_change(self, callback: Callback, capability: str | None = None) -> None:
        """Call ``callback(capability, services)`` when the healthy providers change.

        Of this capability, or of all of interest. It is told at once of what is known
        already. It runs in the resolver's thread, and nothing is kept current until it
        returns; what it raises is logged.
        """
        if capability is not None:
            self._board.watch([_checked(capability)])
        follower = self._keeper.follower()
        if capability is not None:
            follower.widen([capability])

        follower.later(0, lambda: self._listeners.add(capability, callback))

    # Failures, and what is told of calls

    def report_failure(self, service: Service, capability: str | None = None) -> None:
        """Skip a provider that failed for a while, and tell the registry; at once.

        ``capability`` is what was asked of it, the first that it provides if left out.
        """
        self.skip(service)
        named = capability or next(iter(service.capabilities), None)
        if named is not None:
            self.track(service, named, False)

    def skip(self, service: Service) -> None:
        """Skip a provider for a while, unless all that are left are skipped."""
        seconds = self._board.skip(service.id)
        if seconds is not None:
            with suppress(RuntimeError):  # closed: nobody is to be shown again
                self._keeper.follower().later(
                    seconds, lambda: self._board.unskip(service.id)
                )

    def track(
        self,
        service: Service,
        capability: str,
        success: bool,
        latency_ms: float | None = None,
    ) -> None:
        """Tell the registry of a call, some time soon; not without a consumer_id."""
        if self._consumer_id is not None:
            report = Report(
                self._consumer_id, service.id, capability, success, latency_ms
            )
            with suppress(RuntimeError):  # closed under a call that has just ended
                self._keeper.follower().reports.note(report)

    def alternative(
        self,
        capability: str,
        tried: Collection[str],
        key: str | None = None,
        strategy: Strategy | None = None,
    ) -> Service | None:
        """Return a provider that speaks HTTP and is not among the ids ``tried``.

        One that is skipped only when there are no others; None when there are none.
        """
        known = self._board.healthy(capability) or ()
        rest = [each for each in known if each.mode == "http" and each.id not in tried]
        choice = self._board.choices.get(capability)
        shown = {each.id for each in choice.services} if choice else set()
        better = tuple(each for each in rest if each.id in shown)
        if not rest:
            return None
        return self._pick(capability, Choice(better or tuple(rest)), strategy, key)

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

        ``timeout`` (seconds) is for all that is tried. A call whose answer was lost is
        made again, elsewhere, if ``idempotent``; where that is left out, unless the
        provider's metadata says otherwise.

        Raises `ProviderRefused`, `ProviderLost`, and what `resolve` raises.
        """
        return self._invoker.invoke(
            capability, params, timeout, idempotent, key, strategy
        )

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
        return await self._invoker.ainvoke(
            capability, params, timeout, idempotent, key, strategy
        )

    # Beginning and end

    def start(self) -> None:
        """Begin to follow the registry, without waiting for it. Idempotent."""
        self._keeper.follower()

    def close(self) -> None:
        """End the thread, after the last reports (1 s at most). Idempotent."""
        self._keeper.close()
        self._invoker.close()

    async def aclose(self) -> None:
        """As `close`, and closes this loop's connections to providers."""
        await self._invoker.aclose()
        await asyncio.to_thread(self.close)

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
        raise ValueError("a capability is a text, and not an empty one")
    return capability
