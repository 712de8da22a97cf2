"""Namespaces of several registries over one store: heartbeats, watch, staleness."""

import json
from collections.abc import Iterator

import pytest

from modularity_registry import config, runtime, schema
from modularity_registry.catalog import documents
from modularity_registry.catalog.entry import Entry
from modularity_registry.replicas.membership import LOST_AFTER
from modularity_registry.runtime import Registry
from modularity_registry.stores.base import Lost, Send, Snapshot, Watch, snapshot_of
from modularity_registry.stores.memory import MemoryStore
from support.registry import LOOP, ManualClock, on_loop, registration
from support.shared_memory_store import Handle

PERIOD = 2.0
NAMES = ("team-a", "team-b")


class Watched(Handle):
    """Keeps what its watches are sent to by; the namespaces' is the second."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.sends: list[Send] = []
        self.mute = False

    def watch(self, send: Send) -> Watch:
        number = len(self.sends)
        self.sends.append(send)
        return super().watch(
            lambda event: None if self.mute and number else send(event)
        )


class Pair:
    """Two replicas with namespaces, which announce when told to."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.clock = ManualClock()
        self.handles = [Watched(self.store), Watched(self.store)]
        self.one, self.two = (
            runtime.build(
                config.Settings(namespace=NAMES),
                self.clock,
                period=PERIOD,
                store=handle,
                replica=name,
            )
            for handle, name in zip(self.handles, ("one", "two"), strict=True)
        )
        for replica in (self.one, self.two):
            for each in replica.all_namespaces:
                LOOP.call(each.feed.start())
            self.announce(replica)
            for each in replica.all_namespaces[1:]:
                LOOP.call(each.view_health.start())

    def announce(self, replica: Registry) -> None:
        assert replica.announcer is not None
        LOOP.call(replica.announcer.announce())


@pytest.fixture
def pair() -> Iterator[Pair]:
    pair = Pair()
    yield pair
    for replica in (pair.one, pair.two):
        for each in replica.all_namespaces:
            LOOP.call(each.feed.stop())


def register(registry: Registry, service_id: str, **changes: object) -> None:
    body = schema.encode(registration(service_id, mode="standalone", **changes))
    registry.call(registry.commands.register(schema.parse_registration(body), True))


def entry_of(registry: Registry, service_id: str) -> Entry:
    return registry.catalog.require(service_id)


def test_a_heartbeat_reaches_the_other_replica_in_its_namespace(pair: Pair) -> None:
    for registry in pair.one.all_namespaces:
        register(registry, "web", ttl=10)
    on_loop(lambda: pair.clock.advance(7))
    team = pair.two.namespaces["team-a"]
    on_loop(lambda: team.commands.record_heartbeat(entry_of(team, "web")))
    pair.announce(pair.two)
    seen = {
        each.namespace: each.catalog.lease_seen(entry_of(each, "web"))
        for each in pair.one.all_namespaces
    }
    now = pair.clock.monotonic()
    assert seen == {None: now - 7, "team-a": now, "team-b": now - 7}


def test_a_report_reaches_the_other_replica_in_its_namespace(pair: Pair) -> None:
    check = {"name": "jobs", "kind": "ttl", "ttl": 10}
    for registry in pair.one.all_namespaces:
        register(registry, "web", checks=[check])
    on_loop(lambda: pair.clock.advance(5))
    team = pair.two.namespaces["team-a"]
    report = schema.parse_check_report(b"")
    team.call(team.commands.report_check("web", "jobs", report))
    pair.announce(pair.two)
    seen = {
        each.namespace: each.catalog.report_seen(entry_of(each, "web"), "jobs")
        for each in pair.one.all_namespaces
    }
    now = pair.clock.monotonic()
    assert seen == {None: now - 5, "team-a": now, "team-b": now - 5}


def test_a_standstill_renews_the_leases_of_all_namespaces(pair: Pair) -> None:
    register(pair.one.namespaces["team-a"], "web", ttl=10)
    on_loop(lambda: pair.clock.advance(7))
    on_loop(pair.one.membership.renew)
    team = pair.one.namespaces["team-a"]
    assert team.catalog.lease_seen(entry_of(team, "web")) == pair.clock.monotonic()


def test_a_replica_has_one_record_whatever_its_namespaces(pair: Pair) -> None:
    keys = [record.key for record in snapshot_of(pair.store).records]
    assert sorted(keys) == ["replicas/one", "replicas/two"]
    register(pair.one.namespaces["team-a"], "web")
    pair.announce(pair.one)
    [*_, record] = snapshot_of(pair.store).records
    assert record.key == "replicas/one"
    assert json.loads(record.value).get("sighted") is None


def test_all_namespaces_of_a_replica_share_one_watch(pair: Pair) -> None:
    assert [len(handle.sends) for handle in pair.handles] == [2, 2]


def test_a_lost_connection_makes_the_namespaces_stale_alone(pair: Pair) -> None:
    send = pair.handles[0].sends[1]
    on_loop(lambda: send(Lost("the cable")))
    for name in NAMES:
        assert pair.one.namespaces[name].view_health.stale_reason == "the cable"
    assert pair.one.view_health.stale_reason is None
    assert pair.one.degraded() == ["namespaces team-a, team-b: the cable"]
    on_loop(lambda: send(Snapshot((), 99)))
    assert pair.one.namespaces["team-a"].view_health.stale_reason is None


def test_a_namespace_is_stale_whose_changes_do_not_come_while_others_do(
    pair: Pair,
) -> None:
    team, whole = pair.one.namespaces["team-a"], pair.one.view_health
    pair.handles[0].mute = True
    for _ in range(LOST_AFTER + 1):
        assert team.view_health.stale_reason is None
        on_loop(lambda: pair.clock.advance(PERIOD))
        pair.announce(pair.one)
        on_loop(whole.check)
    assert "have not come to this namespace for 6 s" in str(
        team.view_health.stale_reason
    )
    assert whole.stale_reason is None
    pair.handles[0].mute = False
    pair.announce(pair.one)
    on_loop(whole.check)
    assert team.view_health.stale_reason is None


def test_what_an_older_version_makes_of_a_namespace_is_nothing() -> None:
    key = "ns/team-a/services/web"
    assert documents.id_of(key) is None
    assert not documents.is_token("ns/team-a/tokens/ci")
