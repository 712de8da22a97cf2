"""Several registries over one store: who is alive, who watches over whom."""

import json
from collections.abc import Iterator
from functools import partial

import pytest

from modularity_registry import config, runtime, schema
from modularity_registry.api.app import create_app
from modularity_registry.catalog import documents
from modularity_registry.errors import StoreUnavailable
from modularity_registry.events import Hub, Interest, Position
from modularity_registry.replicas.announcer import MAX_IDS_BYTES, Announcer
from modularity_registry.replicas.membership import DELETED_AFTER, LOST_AFTER
from modularity_registry.replicas.standstill import BACKLOG, MAX_STALL
from modularity_registry.runtime import Registry
from modularity_registry.stores.base import Lost
from modularity_registry.stores.memory import MemoryStore
from support.events import Recorder
from support.registry import (
    LOOP,
    ManualClock,
    deliver,
    eventually,
    on_loop,
    put_record,
    registration,
)
from support.shared_memory_store import Handle
from unit.health.test_monitor import BAD, ScriptedProber

PERIOD = 2.0


class Fleet:
    """Replicas by name over one store and on one clock; they announce when told to."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.clock = ManualClock()
        self.prober = ScriptedProber()
        self.replicas: dict[str, Registry] = {}
        self.watching: list[Registry] = []

    def join(self, name: str, watching: bool = False) -> Registry:
        replica = runtime.build(
            config.Settings(),
            self.clock,
            self.prober,
            PERIOD,
            Handle(self.store),
            name,
        )
        self.replicas[name] = replica
        LOOP.call(self._start(replica, watching))
        return replica

    async def _start(self, replica: Registry, watching: bool) -> None:
        await replica.feed.start()
        await announcer(replica).announce()
        if watching:
            await replica.monitor.start()
            self.watching.append(replica)

    def crash(self, name: str) -> None:
        """End one without a word to the others."""
        replica = self.replicas.pop(name)
        if replica in self.watching:
            self.watching.remove(replica)
        LOOP.call(replica.monitor.stop())
        LOOP.call(replica.feed.stop())
        replica.hub.stop()

    def pass_time(self, seconds: float) -> None:
        """Move on in steps of a period, with an announcement by each replica."""
        steps = round(seconds / PERIOD)
        for _ in range(steps):
            assert PERIOD < MAX_STALL
            on_loop(partial(self.clock.advance, PERIOD))
            self.announce()
            on_loop(self._poke)
            self.settle()

    def settle(self) -> None:
        """Wait until no monitor has anything to do."""
        eventually(lambda: on_loop(lambda: all(r.monitor.idle for r in self.watching)))

    def _poke(self) -> None:
        for replica in self.watching:
            replica.monitor.poke()

    def announce(self) -> None:
        LOOP.call(self._announce())

    async def _announce(self) -> None:
        for replica in list(self.replicas.values()):
            await announcer(replica).announce()
            replica.membership.find_lost()
            await announcer(replica).delete_lost()

    def register(self, service_id: str, **changes: object) -> None:
        first = next(iter(self.replicas.values()))
        changes.setdefault("location", f"http://10.0.0.1/{service_id}")
        body = schema.encode(registration(service_id, **changes))
        first.call(first.commands.register(schema.parse_registration(body), True))


def announcer(replica: Registry) -> Announcer:
    assert replica.announcer is not None
    return replica.announcer


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    fleet = Fleet()
    yield fleet
    for name in list(fleet.replicas):
        fleet.crash(name)


def alive(replica: Registry) -> tuple[str, ...]:
    return replica.membership.alive


# Who is there


def test_replicas_see_each_other(fleet: Fleet) -> None:
    a, b = fleet.join("a"), fleet.join("b")
    assert alive(a) == alive(b) == ("a", "b")
    assert [(each.id, each.state, each.self) for each in b.membership.states()] == [
        ("b", "alive", True),
        ("a", "alive", False),
    ]


def test_one_that_falls_silent_is_lost_by_the_observers_clock(fleet: Fleet) -> None:
    a, _ = fleet.join("a"), fleet.join("b")
    fleet.crash("b")
    fleet.pass_time((LOST_AFTER - 1) * PERIOD)
    assert alive(a) == ("a", "b")
    fleet.pass_time(PERIOD)
    assert alive(a) == ("a",)
    assert [each.state for each in a.membership.states()] == ["alive", "lost"]


def test_one_that_is_back_is_alive_again(fleet: Fleet) -> None:
    a, b = fleet.join("a"), fleet.join("b")
    del fleet.replicas["b"]
    fleet.pass_time(LOST_AFTER * PERIOD)
    assert alive(a) == ("a",)
    fleet.replicas["b"] = b
    fleet.announce()
    assert alive(a) == alive(b) == ("a", "b")


def test_one_that_leaves_in_order_is_gone_at_once(fleet: Fleet) -> None:
    a, b = fleet.join("a"), fleet.join("b")
    LOOP.call(announcer(b).start())
    LOOP.call(b.stop())
    del fleet.replicas["b"]
    assert alive(a) == ("a",)
    assert [each.id for each in a.membership.states()] == ["a"]


def test_the_record_of_one_long_lost_is_deleted(fleet: Fleet) -> None:
    a, c = fleet.join("a"), fleet.join("c")
    fleet.join("b")
    fleet.crash("b")
    fleet.pass_time((DELETED_AFTER - 1) * PERIOD)
    assert [each.id for each in c.membership.states()] == ["c", "a", "b"]
    fleet.pass_time(PERIOD)
    assert [each.id for each in c.membership.states()] == ["c", "a"]
    assert alive(a) == alive(c) == ("a", "c")


def test_an_unreadable_record_does_no_harm(fleet: Fleet) -> None:
    a = fleet.join("a")
    put_record(a.store, "replicas/x", b"junk")
    fleet.register("s")
    assert alive(a) == ("a",)
    assert a.degraded() == []


def test_by_a_view_that_is_not_fresh_nobody_is_lost(fleet: Fleet) -> None:
    a, _ = fleet.join("a"), fleet.join("b")
    fleet.clock.advance(LOST_AFTER * PERIOD * 10)
    on_loop(a.membership.find_lost)
    assert alive(a) == ("a", "b")
    assert a.membership.overdue_seconds() is not None
    [reason] = a.view_health.problems()
    assert "own record has not come back from the store for 60 s" in reason
    # Hearing itself again, it gives everyone a full term.
    LOOP.call(announcer(a).announce())
    on_loop(a.membership.find_lost)
    assert alive(a) == ("a", "b")
    assert a.view_health.problems() == []


def test_a_fresh_snapshot_gives_everyone_a_full_term(fleet: Fleet) -> None:
    a, _ = fleet.join("a"), fleet.join("b")
    fleet.crash("b")
    fleet.pass_time((LOST_AFTER - 1) * PERIOD)
    deliver(a, Lost("away"))
    LOOP.call(a.feed.start())
    fleet.pass_time((LOST_AFTER - 1) * PERIOD)
    assert alive(a) == ("a", "b")
    fleet.pass_time(PERIOD)
    assert alive(a) == ("a",)


# Heartbeats


def test_heartbeats_that_one_took_are_known_to_all(fleet: Fleet) -> None:
    a, b = fleet.join("a"), fleet.join("b")
    fleet.register("s", mode="standalone", location="here", ttl=5)
    fleet.clock.advance(3)
    before = put_record(a.store, "other/x", b"") or 0
    b.call(b.commands.heartbeat("s", schema.parse_heartbeat(b"")))
    entry = a.catalog.service("s")
    assert entry is not None
    seen = entry.vitals.lease_seen
    fleet.announce()
    assert entry.vitals.lease_seen == seen + 3
    assert f'"last_seen":"{fleet.clock.now().isoformat()[:-6]}' in entry.json.decode()
    # Whatever their number, the store sees one write a period and replica.
    assert put_record(a.store, "other/x", b"") == before + 2 + 1


def test_more_heartbeats_than_a_record_holds_are_told_in_turn(fleet: Fleet) -> None:
    a, _ = fleet.join("a"), fleet.join("b")
    ids = [f"service-{number:04}" for number in range(6_000)]
    for service_id in ids:
        announcer(a).record_heartbeat(service_id)
    told: list[str] = []
    more = True
    while more:
        more = LOOP.call(announcer(a).announce())
        value = fleet.store._records["replicas/a"].value
        assert len(value) < MAX_IDS_BYTES + 1_000
        told += documents.decode_replica("replicas/a", value).heartbeats
    assert sorted(told) == ids


def test_heartbeats_are_not_lost_with_an_announcement_that_failed(fleet: Fleet) -> None:
    a = fleet.join("a")
    announcer(a).record_heartbeat("s")
    a.store.close()
    with pytest.raises(StoreUnavailable):
        LOOP.call(announcer(a).announce())
    assert list(announcer(a)._heartbeats) == ["s"]


def test_a_heartbeat_that_could_not_be_told_for_long_is_not_told(fleet: Fleet) -> None:
    a, _ = fleet.join("a"), fleet.join("b")
    announcer(a).record_heartbeat("old")
    fleet.clock.advance(LOST_AFTER * PERIOD)
    announcer(a).record_heartbeat("new")
    LOOP.call(announcer(a).announce())
    value = fleet.store._records["replicas/a"].value
    assert documents.decode_replica("replicas/a", value).heartbeats == ("new",)


def beat(replica: Registry) -> None:
    replica.call(replica.commands.heartbeat("s", schema.parse_heartbeat(b"")))


def test_one_that_the_others_do_not_hear_takes_no_heartbeats(fleet: Fleet) -> None:
    a, b = fleet.join("a"), fleet.join("b")
    fleet.register("s", mode="standalone", location="here", ttl=5)
    on_loop(partial(fleet.clock.advance, LOST_AFTER * PERIOD))
    with pytest.raises(StoreUnavailable, match="the others don't learn of heartbeats"):
        beat(b)
    assert not b.commands.is_heard
    fleet.announce()
    assert b.commands.is_heard
    beat(b)
    # One that is alone has nobody to tell.
    LOOP.call(announcer(a).stop())
    fleet.crash("a")
    fleet.pass_time(LOST_AFTER * PERIOD)
    on_loop(partial(fleet.clock.advance, LOST_AFTER * PERIOD))
    beat(b)


def test_what_waited_in_a_standstill_is_no_heartbeat(fleet: Fleet) -> None:
    _, b = fleet.join("a"), fleet.join("b")
    fleet.register("s", mode="standalone", location="here", ttl=5)
    LOOP.call(b.standstill.start())
    on_loop(partial(fleet.clock.advance, MAX_STALL + 0.5))
    with pytest.raises(StoreUnavailable, match="stood still"):
        beat(b)
    on_loop(partial(fleet.clock.advance, BACKLOG))
    fleet.announce()
    beat(b)
    LOOP.call(b.standstill.stop())


def test_a_lease_kept_at_one_replica_holds_at_all(fleet: Fleet) -> None:
    a, b = fleet.join("a", watching=True), fleet.join("b", watching=True)
    for number in range(20):
        fleet.register(f"s{number}", mode="standalone", location="here", ttl=4)
    for _ in range(10):
        fleet.pass_time(4)
        for number in range(20):
            b.call(b.commands.heartbeat(f"s{number}", schema.parse_heartbeat(b"")))
    assert a.catalog.by_status["healthy"] == 20
    # With no announcement, whoever owns the lease finds out.
    fleet.pass_time(12)
    eventually(lambda: a.catalog.by_status["unhealthy"] == 20)


def test_with_a_lost_replica_every_lease_gets_a_full_term(fleet: Fleet) -> None:
    a, b = fleet.join("a", watching=True), fleet.join("b", watching=True)
    fleet.register("s", mode="standalone", location="here", ttl=10)
    b.call(b.commands.heartbeat("s", schema.parse_heartbeat(b"")))
    fleet.crash("b")
    fleet.pass_time(LOST_AFTER * PERIOD)
    assert alive(a) == ("a",)
    entry = a.catalog.service("s")
    assert entry is not None
    assert a.catalog.lease_seen(entry) == fleet.clock.monotonic()


def test_nothing_expires_by_a_stale_view(fleet: Fleet) -> None:
    a = fleet.join("a", watching=True)
    fleet.register("s", mode="standalone", location="here", ttl=4)
    deliver(a, Lost("the server is away"))
    for _ in range(40):
        on_loop(partial(fleet.clock.advance, 4))
        on_loop(a.monitor.poke)
        fleet.settle()
    entry = a.catalog.service("s")
    assert entry is not None and entry.status == "healthy"


# Checks


def test_checks_are_divided_and_none_is_made_twice(fleet: Fleet) -> None:
    replicas = [fleet.join(name, watching=True) for name in "abc"]
    for number in range(60):
        fleet.register(f"s{number}")
    eventually(lambda: len(fleet.prober.asked) == 60)
    shares = [replica.monitor.watched for replica in replicas]
    assert sum(shares) == 60
    assert min(shares) > 5
    for replica in replicas:
        assert {replica.membership.owner(f"s{number}") for number in range(60)} == {
            *"abc"
        }


def test_who_registers_while_shares_move_is_checked_at_once(fleet: Fleet) -> None:
    # Else its check would be put off to some time within an interval, as are those of
    # the services that were moved here.
    a = fleet.join("a", watching=True)

    async def move_and_register() -> None:
        a.monitor.redistribute(any_lost=False)
        for number in range(30):
            body = registration(f"s{number}", location=f"http://10.0.0.1/s{number}")
            parsed = schema.parse_registration(schema.encode(body))
            await a.commands.register(parsed, True)

    LOOP.call(move_and_register())
    fleet.settle()
    assert len(fleet.prober.asked) == 30


def test_a_lost_replicas_share_is_adopted_and_no_verdict_changes(fleet: Fleet) -> None:
    a, b = fleet.join("a", watching=True), fleet.join("b", watching=True)
    bad = [f"s{number}" for number in range(0, 40, 4)]
    for service_id in bad:
        fleet.prober.answers[f"http://10.0.0.1/{service_id}"] = BAD
    for number in range(40):
        fleet.register(f"s{number}")
    fleet.pass_time(120)
    eventually(lambda: a.catalog.by_status["unhealthy"] == len(bad))
    share = b.monitor.watched
    assert 0 < share < 40
    events = a.catalog.changed
    fleet.crash("b")
    fleet.prober.asked.clear()
    fleet.pass_time(LOST_AFTER * PERIOD + 2)
    eventually(lambda: a.monitor.watched == 40)
    fleet.pass_time(60)
    assert len({target.registration.location for target in fleet.prober.asked}) == 40
    assert a.catalog.changed == events


def test_a_new_replica_takes_its_share_and_the_others_let_go(fleet: Fleet) -> None:
    a = fleet.join("a", watching=True)
    for number in range(40):
        fleet.register(f"s{number}")
    eventually(lambda: a.monitor.watched == 40)
    fleet.settle()
    b = fleet.join("b", watching=True)
    eventually(lambda: a.monitor.watched + b.monitor.watched == 40)
    assert b.monitor.watched > 5
    theirs = next(s for s in a.catalog.services() if a.membership.owner(s.id) == "b")
    eventually(lambda: theirs.vitals.evidence is None)
    evidence = json.loads(theirs.json_with_evidence(a.membership.owner(theirs.id)))
    assert evidence["evidence"]["checked_by"] == "b"


def test_a_service_that_goes_or_comes_in_a_hand_over_is_watched_once(
    fleet: Fleet,
) -> None:
    a = fleet.join("a", watching=True)
    for number in range(30):
        fleet.register(f"s{number}")
    b = fleet.join("b", watching=True)
    for number in range(0, 30, 2):
        a.call(a.commands.unregister(f"s{number}"))
    for number in range(30, 40):
        fleet.register(f"s{number}")
    eventually(lambda: a.monitor.watched + b.monitor.watched == 25)
    fleet.pass_time(4)
    assert a.monitor.watched + b.monitor.watched == 25


# What callers see


def test_stats_and_health_show_the_replicas(fleet: Fleet) -> None:
    a = fleet.join("a")
    fleet.join("b")
    fleet.crash("b")
    fleet.pass_time(LOST_AFTER * PERIOD)
    client = create_app(a).test_client()
    for path in ("/health", "/api/stats"):
        body = client.get(path).get_json()
        assert body["replica"] == "a"
        first, second = body["replicas"]
        assert (first["id"], first["state"], first["self"]) == ("a", "alive", True)
        assert (second["id"], second["state"], second["self"]) == ("b", "lost", False)
        assert second["seen"] == LOST_AFTER * PERIOD
        assert {"host", "version", "started_at"} <= second.keys()


def test_while_the_store_is_away_reads_are_marked_and_writes_refused(
    fleet: Fleet,
) -> None:
    a = fleet.join("a")
    fleet.register("s", mode="standalone", location="here")
    client = create_app(a).test_client()
    assert "X-Registry-Stale" not in client.get("/api/services").headers
    deliver(a, Lost("redis is away"))
    fleet.clock.advance(7)
    for path in ("/api/services", "/api/services/s", "/api/capabilities/greet"):
        response = client.get(path)
        assert response.status_code == 200
        assert response.headers["X-Registry-Stale"] == "7"
    ready = client.get("/ready")
    assert ready.status_code == 503 and "redis is away" in ready.get_json()["detail"]
    assert client.get("/health").get_json()["stale_seconds"] == 7
    writes = [
        client.post("/api/register", json=registration("t")),
        client.put("/api/services/s/drain"),
        client.delete("/api/services/s"),
        client.post("/api/heartbeat/s"),
    ]
    for response in writes:
        assert response.status_code == 503
        assert response.headers["Retry-After"]
        assert response.get_json()["code"] == "store_unavailable"
    LOOP.call(a.feed.start())
    assert client.get("/ready").status_code == 200
    assert "X-Registry-Stale" not in client.get("/api/services").headers
    assert client.post("/api/heartbeat/s").status_code == 200


def test_announcements_do_not_change_what_lists_show(fleet: Fleet) -> None:
    a = fleet.join("a")
    fleet.register("s")
    client = create_app(a).test_client()
    for path in ("/api/services", "/api/capabilities"):
        first = client.get(path)
        fleet.announce()
        again = client.get(path, headers={"If-None-Match": first.headers["ETag"]})
        assert again.status_code == 304
        revisions = [
            int(each.headers["X-Registry-Revision"]) for each in (first, again)
        ]
        assert revisions[1] > revisions[0]


def test_one_who_waits_is_not_woken_by_announcements(fleet: Fleet) -> None:
    a = fleet.join("a")
    fleet.register("s")
    fleet.announce()
    hub: Hub = a.hub
    assert hub.revision == a.catalog.revision
    listener = Recorder()

    async def watch() -> None:
        hub.watch(listener, Interest(), Position(a.catalog.revision - 1))

    LOOP.call(watch())
    fleet.announce()
    fleet.register("t")
    eventually(lambda: bool(listener.events))
    assert [event.kind for event in listener.events] == ["service.registered"]
    assert b'"id":"t"' in listener.batches[-1].text


def test_a_check_reported_at_one_replica_is_known_to_all(fleet: Fleet) -> None:
    a, b = fleet.join("a", watching=True), fleet.join("b", watching=True)
    checks = [{"name": "jobs", "kind": "ttl", "ttl": 4}]
    for number in range(20):
        fleet.register(f"s{number}", mode="standalone", location="here", checks=checks)
    report = schema.parse_check_report(b"")
    for _ in range(10):
        fleet.pass_time(4)
        for number in range(20):
            b.call(b.commands.report_check(f"s{number}", "jobs", report))
    assert a.catalog.by_status["healthy"] == 20
    fleet.pass_time(12)
    eventually(lambda: a.catalog.by_status["unhealthy"] == 20)
