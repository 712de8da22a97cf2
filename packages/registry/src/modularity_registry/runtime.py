"""Puts the parts together, starts and stops them. Decides nothing."""

import asyncio
import random
import socket
import uuid
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from modularity_registry import __version__
from modularity_registry.audit import Audit
from modularity_registry.catalog.call_graph import Traffic
from modularity_registry.catalog.catalog import Catalog
from modularity_registry.catalog.documents import REPLICAS, TOKENS
from modularity_registry.catalog.entry import Renderer
from modularity_registry.catalog.feed import Feed
from modularity_registry.catalog.status_history import History
from modularity_registry.clock import Clock, SystemClock
from modularity_registry.config import OFF, Settings
from modularity_registry.events import KEEP_ALIVE, Hub, WatcherPlaces
from modularity_registry.federation import Upstreams
from modularity_registry.health.monitor import Monitor
from modularity_registry.health.probes import Prober
from modularity_registry.health.schedule import Schedule
from modularity_registry.network.address_policy import AddressPolicy
from modularity_registry.network.listen_address import reachable
from modularity_registry.network.name_lookup import NameLookup
from modularity_registry.ratelimit import Places, Rates
from modularity_registry.replicas.announcer import PERIOD, Announcer
from modularity_registry.replicas.membership import Membership
from modularity_registry.replicas.staleness import ViewHealth
from modularity_registry.replicas.standstill import Standstill
from modularity_registry.stores import open_store
from modularity_registry.stores.base import Store
from modularity_registry.stores.group_commit import GroupCommit
from modularity_registry.tasks import run_on
from modularity_registry.telemetry.counters import Metrics
from modularity_registry.telemetry.timed_store import TimedStore
from modularity_registry.tokens import (
    FileTokenBackend,
    RegistryTokenBackend,
    TokenBackend,
    TokenFileWatcher,
    TokenView,
)
from modularity_registry.writes.commands import Commands
from modularity_registry.writes.quotas import Quotas

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True)
class Registry:
    """One running registry: the parts that the web layer talks to.

    They run on the event loop that calls `start`. Other threads may read the catalog,
    and `call` everything else. ``more_faults`` tell what else may be wrong with it,
    ``places`` are all those that callers share.
    """

    settings: Settings
    clock: Clock
    store: Store
    replica: str
    metrics: Metrics
    writer: GroupCommit
    catalog: Catalog
    feed: Feed
    membership: Membership
    standstill: Standstill
    announcer: Announcer | None
    view_health: ViewHealth
    audit: Audit
    quotas: Quotas
    commands: Commands
    monitor: Monitor
    hub: Hub
    history: History
    tokens: TokenView | None
    token_backend: TokenBackend | None
    token_file: TokenFileWatcher | None
    traffic: Traffic
    rates: Rates
    upstreams: Upstreams
    started_at: float
    places: list[Places]
    more_faults: list[Callable[[], str | None]] = field(default_factory=list)

    async def start(self) -> None:
        """Load the catalog, then watch; raises `StoreError` when that can't be."""
        await self.feed.start()
        if self.token_file is not None:
            await self.token_file.start()
        await self.standstill.start()
        if self.announcer is not None:
            await self.announcer.start()
        await self.view_health.start()
        await self.monitor.start()
        self.upstreams.start()
        self.audit.start(
            version=__version__,
            store=self.settings.store_kind,
            auth=self.settings.auth,
            anonymous=sorted(self.settings.anonymous),
        )

    async def stop(self) -> None:
        """Stop watching, then following, then close the store. Idempotent."""
        self.hub.stop()
        await self.upstreams.stop()
        await self.monitor.stop()
        if self.token_file is not None:
            await self.token_file.stop()
        if self.announcer is not None:
            await self.announcer.stop()
        await self.view_health.stop()
        await self.standstill.stop()
        self.writer.stop()
        await self.feed.stop()
        await asyncio.to_thread(self.store.close)
        await asyncio.to_thread(self.audit.stop)
        self.rates.close()

    def call(self, coroutine: Coroutine[Any, Any, ResultT]) -> ResultT:
        """Run ``coroutine`` on the registry's event loop, for any other thread.

        Returns or raises its outcome. Raises `StoreUnavailable` when the registry does
        not run.
        """
        return run_on(self.feed.loop, coroutine)

    def degraded(self) -> list[str]:
        """Return why this replica is not at its best; empty when it is."""
        reasons = [
            *self.view_health.problems(),
            self.monitor.suspicion,
            self.monitor.lateness.reason,
            self.token_file.fault if self.token_file else None,
            self.audit.fault,
            self.rates.fault,
            self.quotas.fault,
            *(fault() for fault in self.more_faults),
            *(places.fault for places in self.places),
        ]
        return [reason for reason in reasons if reason is not None]

    @property
    def feed_age(self) -> float:
        """Seconds since this replica's own record came back from the store.

        0 for a store within this process, which is never behind.
        """
        return self.membership.own_record_age() or 0.0


class _Base(NamedTuple):
    """What every other part is built on; ``store`` is the timed one."""

    settings: Settings
    clock: Clock
    store: Store
    replica: str
    metrics: Metrics
    writer: GroupCommit


class _View(NamedTuple):
    catalog: Catalog
    feed: Feed
    membership: Membership
    standstill: Standstill
    announcer: Announcer | None
    view_health: ViewHealth


class _Writers(NamedTuple):
    audit: Audit
    quotas: Quotas
    commands: Commands
    monitor: Monitor


class _Tokens(NamedTuple):
    view: TokenView | None
    backend: TokenBackend | None
    file: TokenFileWatcher | None


def build(
    settings: Settings,
    clock: Clock | None = None,
    prober: Prober | None = None,
    period: float = PERIOD,
    store: Store | None = None,
    replica: str | None = None,
    keep_alive: float = KEEP_ALIVE,
) -> Registry:
    """Return a registry over the store that the settings name, not started.

    ``clock``, ``prober`` and ``store`` replace the real ones; ``period`` (seconds) is
    the time between two announcements to other replicas, ``replica`` the id of this
    one, by default the host's name and a random part, ``keep_alive`` (seconds) the time
    between two signs of life to those who listen.

    Raises `StoreError` when the store can't be opened.
    """
    clock = clock or SystemClock()
    replica = replica or f"{socket.gethostname()}-{uuid.uuid4().hex[:6]}"
    store = store or open_store(settings.store)
    metrics = Metrics()
    timed = TimedStore(store, metrics)
    writer = GroupCommit(timed)
    base = _Base(settings, clock, timed, replica, metrics, writer)
    view = _build_view(base, period)
    writers = _build_writers(base, view, prober)
    tokens = _build_tokens(base, view.feed)
    hub = _build_hub(base, tokens.view, keep_alive)
    history = History(clock)
    for listener in (history, writers.monitor, hub):
        view.feed.listen(listener)
    parts = settings, clock, store, replica, metrics, writer, *view, *writers
    return Registry(
        *(*parts, hub, history, *tokens),
        traffic=Traffic(clock),
        rates=Rates(settings, clock),
        upstreams=Upstreams(settings, clock),
        started_at=clock.monotonic(),
        places=[hub.places],
    )


def _build_view(base: _Base, period: float) -> _View:
    clock, store = base.clock, base.store
    renderer = Renderer(base.settings.check_defaults)
    catalog = Catalog(renderer, clock, base.settings.zone_threshold)
    feed = Feed(store, catalog)
    membership = Membership(base.replica, catalog, clock, period)
    standstill = Standstill(clock, membership.renew)
    announcer = None
    if store.shared:
        announcer = Announcer(
            base.writer,
            membership,
            standstill,
            clock,
            reachable(base.settings.host, base.settings.port),
        )
    view_health = ViewHealth(store, feed, membership, clock)
    feed.on_connection_change(view_health.check)
    feed.listen_to_records(REPLICAS, membership)
    return _View(catalog, feed, membership, standstill, announcer, view_health)


def _build_writers(base: _Base, view: _View, prober: Prober | None) -> _Writers:
    settings, clock, metrics = base.settings, base.clock, base.metrics
    policy = AddressPolicy.parse(settings.allowed_networks)
    name_lookup = NameLookup()
    audit = Audit.at(settings, clock, base.replica)
    quotas = Quotas(settings, view.catalog)
    commands = Commands(
        base.writer,
        view.feed,
        view.catalog,
        policy,
        name_lookup,
        clock,
        quotas,
        view.announcer,
        metrics,
        audit,
        *("" if name == OFF else name for name in (settings.zone, settings.region)),
    )
    monitor = Monitor(
        view.catalog,
        commands,
        prober or Prober(policy, name_lookup=name_lookup),
        Schedule(
            settings.check_defaults,
            settings.health_check_fall,
            settings.health_check_rise,
            random.Random(),
        ),
        clock,
        view.membership,
        view.view_health,
        view.standstill,
        metrics,
    )
    view.membership.listen(monitor.redistribute)
    return _Writers(audit, quotas, commands, monitor)


def _build_hub(base: _Base, tokens: TokenView | None, keep_alive: float) -> Hub:
    settings = base.settings
    places = WatcherPlaces(
        "watchers",
        settings.max_watchers,
        settings.max_watchers_per_client,
        "; raise --max-watchers, or add a replica",
        base.clock.monotonic,
    )
    if tokens is None:
        return Hub(base.clock, lambda: base.store.epoch, places, keep_alive=keep_alive)
    hub = Hub(base.clock, lambda: base.store.epoch, places, tokens.holds, keep_alive)
    tokens.listen(hub.dismiss)
    return hub


def _build_tokens(base: _Base, feed: Feed) -> _Tokens:
    settings = base.settings
    if not settings.auth:
        return _Tokens(None, None, None)
    tokens = TokenView(base.clock)
    if settings.tokens_file == OFF:
        feed.listen_to_records(TOKENS, tokens)
        backend = RegistryTokenBackend(base.writer, feed, tokens)
        return _Tokens(tokens, backend, None)
    watcher = TokenFileWatcher(FileTokenBackend(settings.tokens_file), tokens)
    return _Tokens(tokens, watcher, watcher)
