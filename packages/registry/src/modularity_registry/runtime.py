"""Puts the parts together, starts and stops them. Decides nothing."""

import random
import socket
import uuid
from dataclasses import dataclass

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
from modularity_registry.events import Hub
from modularity_registry.health.monitor import Monitor
from modularity_registry.health.probes import Prober
from modularity_registry.health.schedule import Schedule
from modularity_registry.model.rights import Caller
from modularity_registry.network.address_policy import AddressPolicy
from modularity_registry.network.name_lookup import NameLookup
from modularity_registry.ratelimit import Rates
from modularity_registry.replicas.announcer import PERIOD, Announcer
from modularity_registry.replicas.membership import Membership
from modularity_registry.replicas.staleness import ViewHealth
from modularity_registry.stores import open_store
from modularity_registry.stores.base import Store
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


@dataclass(frozen=True, slots=True)
class Registry:
    """One running registry: the parts that the web layer talks to."""

    settings: Settings
    clock: Clock
    store: Store
    catalog: Catalog
    feed: Feed
    hub: Hub
    history: History
    traffic: Traffic
    metrics: Metrics
    audit: Audit
    view_health: ViewHealth
    membership: Membership
    announcer: Announcer | None
    commands: Commands
    monitor: Monitor
    tokens: TokenView | None
    token_backend: TokenBackend | None
    token_file: TokenFileWatcher | None
    rates: Rates
    replica: str
    started_at: float

    def start(self) -> None:
        """Load the catalog, then watch; raises `StoreError` when that can't be."""
        self.hub.start()
        self.feed.start()
        if self.token_file is not None:
            self.token_file.start()
        if self.announcer is not None:
            self.announcer.start()
        self.view_health.start()
        self.monitor.start()
        self.audit.start(
            version=__version__,
            store=self.settings.store_kind,
            auth=self.settings.auth,
            anonymous=sorted(self.settings.anonymous),
        )

    def stop(self) -> None:
        """Stop watching, then following, then close the store. Idempotent."""
        self.hub.stop()
        self.monitor.stop()
        if self.token_file is not None:
            self.token_file.stop()
        if self.announcer is not None:
            self.announcer.stop()
        self.view_health.stop()
        self.feed.stop()
        self.store.close()
        self.audit.stop()
        self.rates.close()

    def still_good(self, caller: Caller) -> bool:
        """Say whether a caller whose call goes on for long may still make it."""
        return self.tokens is None or self.tokens.holds(caller)

    def degraded(self) -> list[str]:
        """Return why this replica is not at its best; empty when it is."""
        reasons = [
            *self.view_health.problems(),
            self.monitor.suspicion,
            self.token_file.fault if self.token_file else None,
            self.audit.fault,
            self.rates.fault,
        ]
        return [reason for reason in reasons if reason is not None]

    @property
    def feed_age(self) -> float:
        """Seconds since this replica's own record came back from the store.

        0 for a store within this process, which is never behind.
        """
        return self.membership.own_record_age() or 0.0


def build(
    settings: Settings,
    clock: Clock | None = None,
    prober: Prober | None = None,
    period: float = PERIOD,
    store: Store | None = None,
    replica: str | None = None,
) -> Registry:
    """Return a registry over the store that the settings name, not started.

    ``clock``, ``prober`` and ``store`` take the place of the real ones; ``period``
    (seconds) is the time between two signs of life to other replicas, ``replica`` the
    id of this one, else made of the host's name and a random part.

    Raises `StoreError` when the store can't be opened.
    """
    clock = clock or SystemClock()
    policy = AddressPolicy.parse(settings.allowed_networks)
    replica = replica or f"{socket.gethostname()}-{uuid.uuid4().hex[:6]}"
    defaults = settings.check_defaults
    store = store or open_store(settings.store)
    metrics = Metrics()
    timed_store = TimedStore(store, metrics)
    catalog = Catalog(Renderer(defaults), clock)
    feed = Feed(timed_store, catalog)
    name_lookup = NameLookup()
    membership = Membership(replica, catalog, clock, period)
    announcer = (
        Announcer(timed_store, membership, clock, clock.now()) if store.shared else None
    )
    view_health = ViewHealth(timed_store, feed, membership, clock)
    audit = Audit.at(settings, clock, replica)
    commands = Commands(
        timed_store,
        feed,
        catalog,
        policy,
        name_lookup.resolve,
        clock,
        announcer,
        metrics,
        audit,
    )
    schedule = Schedule(
        defaults,
        settings.health_check_fall,
        settings.health_check_rise,
        random.Random(),
    )
    prober = prober or Prober(policy, name_lookup=name_lookup)
    monitor = Monitor(
        catalog,
        commands,
        prober,
        schedule,
        clock,
        membership,
        view_health,
        metrics,
    )
    hub = Hub(
        clock,
        lambda: store.epoch,
        settings.max_watchers,
        settings.max_watchers_per_client,
    )
    history = History(clock)
    feed.listen(history)
    feed.listen(monitor)
    feed.listen(hub)
    feed.on_connection_change(view_health.check)
    feed.keep(REPLICAS, membership)
    membership.listen(monitor.redistribute)
    tokens = TokenView(clock) if settings.auth else None
    watcher: TokenFileWatcher | None = None
    backend: TokenBackend | None = None
    if tokens is not None and settings.tokens_file != OFF:
        backend = watcher = TokenFileWatcher(
            FileTokenBackend(settings.tokens_file), tokens
        )
    elif tokens is not None:
        feed.keep(TOKENS, tokens)
        backend = RegistryTokenBackend(timed_store, feed, tokens)
    return Registry(
        settings=settings,
        clock=clock,
        store=store,
        catalog=catalog,
        feed=feed,
        hub=hub,
        history=history,
        traffic=Traffic(clock),
        metrics=metrics,
        audit=audit,
        view_health=view_health,
        membership=membership,
        announcer=announcer,
        commands=commands,
        monitor=monitor,
        tokens=tokens,
        token_backend=backend,
        token_file=watcher,
        rates=Rates(settings, clock),
        replica=replica,
        started_at=clock.monotonic(),
    )
