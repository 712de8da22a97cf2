"""Puts the parts together, starts and stops them. Decides nothing."""

import asyncio
import logging
import random
import socket
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from modularity_registry import __version__, tasks
from modularity_registry.audit import Audit, NamespaceAudit
from modularity_registry.catalog.call_graph import Traffic
from modularity_registry.catalog.catalog import Catalog
from modularity_registry.catalog.documents import REPLICAS, SPLITS, TOKENS
from modularity_registry.catalog.entry import Renderer
from modularity_registry.catalog.feed import UNREAD, Feed
from modularity_registry.catalog.splits import SplitFeed
from modularity_registry.catalog.status_history import History
from modularity_registry.clock import Clock, SystemClock
from modularity_registry.config import DEFAULT_NAMESPACE, OFF, Settings
from modularity_registry.errors import StoreError
from modularity_registry.events import KEEP_ALIVE, Hub, WatcherPlaces
from modularity_registry.federation import Upstreams
from modularity_registry.health.check_queue import CheckPlaces, CheckQueue
from modularity_registry.health.monitor import Monitor
from modularity_registry.health.probes import Prober
from modularity_registry.health.schedule import Schedule
from modularity_registry.network.address_policy import AddressPolicy
from modularity_registry.network.listen_address import reachable
from modularity_registry.network.name_lookup import NameLookup
from modularity_registry.ratelimit import Places, Rates
from modularity_registry.replicas.announcer import (
    PERIOD,
    Announcer,
    NamespaceHeartbeats,
)
from modularity_registry.replicas.membership import Membership
from modularity_registry.replicas.staleness import ViewHealth
from modularity_registry.replicas.standstill import Standstill
from modularity_registry.snapshot import (
    Preview,
    Previewed,
    Snapshot,
    SnapshotWriter,
    Source,
)
from modularity_registry.snapshot import read as read_snapshot
from modularity_registry.stores import identity_of, open_store
from modularity_registry.stores.base import Store
from modularity_registry.stores.deferred import DeferredStore
from modularity_registry.stores.group_commit import GroupCommit, Writer
from modularity_registry.stores.parts import Division, PartWriter
from modularity_registry.tasks import run_on
from modularity_registry.telemetry.counters import Metrics
from modularity_registry.telemetry.timed_store import TimedStore
from modularity_registry.tokens import (
    FileTokenBackend,
    NamespaceTokens,
    RegistryTokenBackend,
    TokenBackend,
    TokenFileWatcher,
    TokenView,
)
from modularity_registry.writes.commands import Commands
from modularity_registry.writes.quotas import Quotas
from modularity_registry.writes.splits import SplitCommands

log = logging.getLogger(__name__)

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True)
class Registry:
    """One running registry: the parts that the web layer talks to.

    They run on the event loop that calls `start`. Other threads may read the catalog,
    and `call` everything else. ``more_faults`` tell what else may be wrong with it,
    ``places`` are all those that callers share, ``integrations`` tell what statistics
    show of each of them.

    The registry of each namespace is one of ``namespaces``, by name. It has a view, a
    watch and tokens of its own, and shares the rest. The whole one starts and stops it.
    ``namespace`` is its name, None for the whole one, which is the default namespace.

    With a ``preview``, it starts before the store has been read; ``on_read`` are called
    after that.
    """

    settings: Settings
    clock: Clock
    store: Store
    replica: str
    metrics: Metrics
    namespace: str | None
    writer: Writer
    catalog: Catalog
    feed: Feed
    membership: Membership
    standstill: Standstill
    announcer: Announcer | None
    view_health: ViewHealth
    audit: Audit
    quotas: Quotas
    commands: Commands
    split_commands: SplitCommands
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
    integrations: dict[str, Callable[[], Mapping[str, Any]]] = field(
        default_factory=dict
    )
    namespaces: dict[str, "Registry"] = field(default_factory=dict)
    preview: Preview | None = None
    snapshot_writer: SnapshotWriter | None = None
    reading: list[asyncio.Task[None]] = field(default_factory=list)
    on_read: list[Callable[[], Awaitable[None]]] = field(default_factory=list)

    @property
    def by_name(self) -> dict[str, "Registry"]:
        """The registries of all namespaces by name, the default one first."""
        return {DEFAULT_NAMESPACE: self, **self.namespaces}

    @property
    def all_namespaces(self) -> list["Registry"]:
        """The registries of all namespaces, the default one first."""
        return list(self.by_name.values())

    async def start(self) -> None:
        """Load the catalogs, then watch; raises `StoreError` when that can't be.

        With a snapshot, serve that, and do the same beside it.
        """
        if self.preview is not None:
            age = self.preview.show(self.clock.now())
            for registry in self.all_namespaces:
                registry.view_health.assume_stale(age, UNREAD)
        else:
            for registry in self.all_namespaces:
                await registry.feed.start()
        if self.token_file is not None:
            await self.token_file.start()
        await self.standstill.start()
        if self.preview is None and self.announcer is not None:
            await self.announcer.start()
        for registry in self.all_namespaces:
            await registry.view_health.start()
        if self.snapshot_writer is not None:
            # It writes nothing until the store has been read.
            self.snapshot_writer.start()
        if self.preview is not None:
            self.reading.append(tasks.start("store-read", self._read(self.preview)))
        else:
            await self._watch()
        self.upstreams.start()
        self.audit.start(
            version=__version__,
            store=self.settings.store_kind,
            auth=self.settings.auth,
            anonymous=sorted(self.settings.anonymous),
            namespaces=list(self.namespaces) or None,
        )

    async def _watch(self) -> None:
        for registry in self.all_namespaces:
            await registry.monitor.start()

    async def _read(self, preview: Preview) -> None:
        await preview.read_store()
        while self.announcer is not None:
            try:
                await self.announcer.start()
                break
            except StoreError as error:
                log.warning("can't announce this replica: %s", error.detail)
                await asyncio.sleep(PERIOD)
        await self._watch()
        for call in self.on_read:
            await call()

    def dismiss(self) -> None:
        """End all streams and waits, and those that are still to come. Idempotent."""
        for registry in self.all_namespaces:
            registry.hub.stop()

    async def stop(self) -> None:
        """Stop watching, then following, then close the store. Idempotent."""
        self.dismiss()
        await tasks.cancel(*self.reading)
        await self.upstreams.stop()
        for registry in self.all_namespaces:
            await registry.monitor.stop()
        if self.token_file is not None:
            await self.token_file.stop()
        if self.announcer is not None:
            await self.announcer.stop()
        await self.view_health.stop()
        await self.standstill.stop()
        self.writer.stop()
        if self.snapshot_writer is not None:
            await self.snapshot_writer.stop()
        for registry in self.all_namespaces:
            await registry.feed.stop()
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
            *self._health_faults(),
            self.token_file.fault if self.token_file else None,
            self.audit.fault,
            self.rates.fault,
            self.quotas.fault,
            self.snapshot_writer.fault if self.snapshot_writer else None,
            *(fault() for fault in self.more_faults),
            *(places.fault for places in self.places),
            *self._faults_in_namespaces(),
        ]
        return [reason for reason in reasons if reason is not None]

    def _health_faults(self) -> list[str | None]:
        """Return what may be wrong with the view and the checks of this namespace."""
        return [
            *self.view_health.problems(),
            self.monitor.suspicion,
            self.monitor.lateness.reason,
            self.monitor.suspects.reason if self.monitor.suspects else None,
        ]

    def _faults_in_namespaces(self) -> Iterator[str]:
        """Yield what is wrong with namespaces, and not here in the same way."""
        names: dict[str, list[str]] = {}
        known = {None, self.quotas.fault, *self._health_faults()}
        for name, registry in self.namespaces.items():
            for reason in (*registry._health_faults(), registry.quotas.fault):
                if reason is not None and reason not in known:
                    names.setdefault(reason, []).append(name)
        for reason, those in names.items():
            subject = "namespace" if len(those) == 1 else "namespaces"
            yield f"{subject} {', '.join(those)}: {reason}"

    @property
    def feed_age(self) -> float:
        """How old the view may be, in seconds: see `Membership.own_record_age`.

        0 for a store within this process, which is never behind.
        """
        return self.membership.own_record_age() or 0.0


class _Inside(NamedTuple):
    """The namespace that a registry is for, and the registry that it belongs to."""

    name: str
    whole: Registry


class _Base(NamedTuple):
    """What every other part is built on; ``store`` is the timed one, or a part of it.

    ``inside`` is None for the whole registry.
    """

    settings: Settings
    clock: Clock
    store: Store
    replica: str
    metrics: Metrics
    writer: Writer
    policy: AddressPolicy
    name_lookup: NameLookup
    prober: Prober
    check_places: CheckPlaces
    period: float
    keep_alive: float
    inside: _Inside | None = None

    @property
    def namespace(self) -> str | None:
        """The namespace; None for the default one."""
        return self.inside.name if self.inside else None


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
    split_commands: SplitCommands
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
    snapshot = None
    if store is None:
        snapshot = _read_snapshot(settings)
        opener = partial(open_store, settings.store)
        store = DeferredStore(opener, snapshot.epoch) if snapshot else opener()
    metrics = Metrics()
    timed = TimedStore(store, metrics)
    policy, name_lookup = AddressPolicy.parse(settings.allowed_networks), NameLookup()
    base = _Base(
        settings,
        clock or SystemClock(),
        timed,
        replica or f"{socket.gethostname()}-{uuid.uuid4().hex[:6]}",
        metrics,
        GroupCommit(timed),
        policy,
        name_lookup,
        prober or Prober(policy, name_lookup=name_lookup),
        CheckPlaces(),
        period,
        keep_alive,
    )
    # The untimed one: only what the registry itself asks of it is timed.
    whole = replace(_build_one(base), store=store)
    for name, part in Division(timed, settings.namespace).parts.items():
        whole.namespaces[name] = _build_one(
            base._replace(
                # Upstreams are asked about the default namespace.
                settings=replace(settings, upstream=(), upstream_token_file=()),
                store=part,
                metrics=Metrics(metrics),
                writer=PartWriter(base.writer, part),
                inside=_Inside(name, whole),
            )
        )
    return _with_snapshot(whole, snapshot)


def _read_snapshot(settings: Settings) -> Snapshot | None:
    if settings.snapshot == OFF:
        return None
    identity = identity_of(settings.store)
    return read_snapshot(Path(settings.snapshot), identity, settings.namespace)


def _with_snapshot(whole: Registry, snapshot: Snapshot | None) -> Registry:
    """Return the registry with what writes a snapshot, and what shows one."""
    settings = whole.settings
    if settings.snapshot == OFF:
        return whole
    parts = {"": whole, **whole.namespaces}
    writer = SnapshotWriter(
        Path(settings.snapshot),
        whole.store,
        identity_of(settings.store),
        {name: Source(one.catalog, one.feed) for name, one in parts.items()},
        whole.clock,
    )
    preview = None
    if snapshot is not None:
        shown = [Previewed(name, one.catalog, one.feed) for name, one in parts.items()]
        preview = Preview(snapshot, whole.store, shown)
    return replace(whole, preview=preview, snapshot_writer=writer)


def _build_one(base: _Base) -> Registry:
    """Return the registry of one namespace."""
    settings, clock = base.settings, base.clock
    whole = base.inside.whole if base.inside else None
    view = _build_view(base)
    writers = _build_writers(base, view)
    tokens = _build_tokens(base, view.feed)
    hub = _build_hub(base, tokens.view)
    history = History(clock)
    for listener in (history, writers.monitor, hub):
        view.feed.listen(listener)
    splits = SplitFeed(view.catalog, hub.split_changed)
    view.feed.listen_to_records(SPLITS, splits)
    parts = base.store, base.replica, base.metrics, base.namespace, base.writer
    return Registry(
        *(settings, clock, *parts, *view, *writers, hub, history, *tokens),
        traffic=Traffic(clock),
        rates=whole.rates if whole else Rates(settings, clock),
        upstreams=Upstreams(settings, clock),
        started_at=whole.started_at if whole else clock.monotonic(),
        places=[] if whole else [hub.places],
    )


def _build_view(base: _Base) -> _View:
    clock, store, inside = base.clock, base.store, base.inside
    renderer = Renderer(base.settings.check_defaults)
    catalog = Catalog(renderer, clock, base.settings.zone_threshold)
    feed = Feed(store, catalog)
    if inside is not None:
        whole = inside.whole
        membership, standstill = whole.membership, whole.standstill
        announcer = whole.announcer
        membership.add_namespace(inside.name, catalog)
        view_health = ViewHealth(store, feed, membership, clock, whole.view_health)
    else:
        membership = Membership(base.replica, catalog, clock, base.period)
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
        feed.listen_to_records(REPLICAS, membership)
    feed.on_connection_change(view_health.check)
    return _View(catalog, feed, membership, standstill, announcer, view_health)


def _build_writers(base: _Base, view: _View) -> _Writers:
    settings, clock, metrics = base.settings, base.clock, base.metrics
    audit: Audit
    announcer: Announcer | NamespaceHeartbeats | None = view.announcer
    if base.inside is not None:
        audit = NamespaceAudit(base.inside.whole.audit, base.inside.name)
        if view.announcer is not None:
            announcer = view.announcer.within(base.inside.name)
    else:
        audit = Audit.at(settings, clock, base.replica)
    quotas = Quotas(settings, view.catalog)
    commands = Commands(
        base.writer,
        view.feed,
        view.catalog,
        base.policy,
        base.name_lookup,
        clock,
        quotas,
        announcer,
        metrics,
        audit,
        "" if settings.zone == OFF else settings.zone,
        "" if settings.region == OFF else settings.region,
        base.namespace,
    )
    monitor = Monitor(
        view.catalog,
        commands,
        base.prober,
        Schedule(
            settings.check_defaults,
            settings.health_check_fall,
            settings.health_check_rise,
            random.Random(),
            _check_queue(settings, base.check_places),
        ),
        clock,
        view.membership,
        view.view_health,
        view.standstill,
        metrics,
        view.announcer if settings.confirm > 1 else None,
        base.namespace or "",
    )
    base.check_places.when_free.append(monitor.poke)
    view.membership.listen(monitor.redistribute)
    split_commands = SplitCommands(
        base.writer, view.feed, view.catalog, audit, base.namespace
    )
    return _Writers(audit, quotas, commands, split_commands, monitor)


def _check_queue(settings: Settings, places: CheckPlaces) -> CheckQueue:
    """Return the checks of one namespace: beside others, it never has all places."""
    share = places.total - places.total // 4
    return CheckQueue(share if settings.namespace else places.total, places=places)


def _build_hub(base: _Base, tokens: TokenView | None) -> Hub:
    settings, keep_alive = base.settings, base.keep_alive
    places = (
        base.inside.whole.hub.places
        if base.inside is not None
        else WatcherPlaces(
            "watchers",
            settings.max_watchers,
            settings.max_watchers_per_client,
            "; raise --max-watchers, or add a replica",
            base.clock.monotonic,
        )
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
    inside, tokens = base.inside, TokenView(base.clock)
    if inside is not None and inside.whole.tokens is not None:
        tokens = NamespaceTokens(base.clock, inside.name, inside.whole.tokens)
        if inside.whole.token_file is not None:
            return _Tokens(tokens, inside.whole.token_file.within(tokens), None)
    if settings.tokens_file == OFF:
        feed.listen_to_records(TOKENS, tokens)
        backend = RegistryTokenBackend(base.writer, feed, tokens)
        return _Tokens(tokens, backend, None)
    watcher = TokenFileWatcher(FileTokenBackend(settings.tokens_file), tokens)
    return _Tokens(tokens, watcher, watcher)
