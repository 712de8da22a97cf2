"""A failure to connect needs a second replica that sees it, on another host."""

import json
from collections.abc import Callable, Iterator
from itertools import count, islice
from typing import Any

import pytest

from modularity_registry import config, runtime
from modularity_registry.catalog import documents
from modularity_registry.catalog.documents import ReplicaRecord
from modularity_registry.health.probes import Outcome as CheckOutcome
from modularity_registry.model.second_opinion import (
    PATIENCE,
    TRAVEL,
    Answer,
    decide,
    opinion,
    term,
)
from modularity_registry.replicas.announcer import (
    MAX_IDS_BYTES,
    OPINIONS_BYTES,
    SUSPECTS_BYTES,
)
from modularity_registry.runtime import Registry
from support.registry import LOOP, on_loop
from support.shared_memory_store import Handle
from unit.health.test_monitor import BAD, ScriptedProber
from unit.replicas.test_membership import PERIOD, Fleet, announcer

REFUSED = CheckOutcome(False, 1.0, "connection refused", "refused")
DNS = CheckOutcome(False, 1.0, "no such host", "dns")


def answer(failing: bool, at: float = 0.0, number: int = 1) -> Answer:
    return Answer(number, failing, "connection refused" if failing else "HTTP 200", at)


# The decision


def test_without_a_witness_a_replica_decides_alone() -> None:
    assert decide({}, (), 0.0, 5.0, 0.0) == "alone"
    gone = {"b": answer(failing=False)}
    assert decide(gone, (), 0.0, 5.0, 0.0) == "alone", "one that is lost has no say"


def test_one_failure_elsewhere_confirms() -> None:
    answers = {"b": answer(failing=False), "c": answer(failing=True)}
    assert decide(answers, ("b", "c"), 0.0, 5.0, 5.0) == "confirmed"


def test_a_failure_of_long_ago_confirms_nothing() -> None:
    answers = {"b": answer(failing=True, at=0.0)}
    assert decide(answers, ("b",), 0.0, 5.0, 5.1) == "held"


def test_nothing_is_decided_while_the_others_reach_it() -> None:
    answers = {"b": answer(failing=False)}
    assert decide(answers, ("b",), 0.0, 5.0, 1_000.0) == "held"
    assert decide(answers, ("b", "c"), 0.0, 5.0, 1_000.0) == "held"


def test_the_silence_of_all_is_waited_for_so_long() -> None:
    assert decide({}, ("b",), PATIENCE * 5.0 - 0.1, 5.0, 0.0) == "held"
    assert decide({}, ("b",), PATIENCE * 5.0, 5.0, 0.0) == "alone"


def test_a_term_is_an_interval_but_never_shorter_than_a_check() -> None:
    assert term(30.0, 5.0) == 30.0
    assert term(1.0, 5.0) == 5.0 + TRAVEL


def test_it_says_who_reaches_the_service_and_who_does_not() -> None:
    answers = {"c": answer(failing=True), "b": answer(failing=False)}
    shown = opinion("confirmed", "a", answers, ("b", "c", "d"))
    assert shown.message == (
        "unreachable from replica a, failing from c (connection refused),"
        " reachable from b, no answer from d"
    )
    assert list(shown.answers) == ["b", "c"]
    shown = opinion("held", "a", {"b": answer(failing=False)}, ("b",))
    assert shown.message == "unreachable from replica a, reachable from b"


# Replicas over one store


class Hosts(Fleet):
    """Replicas on hosts of their own, each with checks that answer as the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.probers: dict[str, ScriptedProber] = {}

    def join_host(self, name: str, host: str = "", confirm: int = 2) -> Registry:
        prober = self.probers[name] = ScriptedProber()
        replica = runtime.build(
            config.Settings(confirm=confirm),
            self.clock,
            prober,
            PERIOD,
            Handle(self.store),
            name,
        )
        announcer(replica)._host = host or name
        self.replicas[name] = replica
        LOOP.call(self._start(replica, watching=True))
        self.announce()
        return replica

    def fail(self, service_id: str, *names: str, how: CheckOutcome = REFUSED) -> None:
        for name in names:
            self.probers[name].answers[f"http://10.0.0.1/{service_id}"] = how

    def cut_off(self, *names: str) -> str:
        """Join these; return a service that the first checks, and can't connect to."""
        for name in names:
            self.join_host(name)
        [service_id] = self.owned_by(names[0])
        self.register(service_id)
        self.fail(service_id, names[0])
        return service_id

    def recover(self, service_id: str, *names: str) -> None:
        for name in names:
            del self.probers[name].answers[f"http://10.0.0.1/{service_id}"]

    def owned_by(self, name: str, number: int = 1) -> list[str]:
        """Ids of services that this replica checks."""
        membership = self.replicas[name].membership
        ids = (f"s{i}" for i in count())
        own = (each for each in ids if membership.owner(each) == name)
        return list(islice(own, number))

    def status(self, service_id: str) -> str:
        entry = next(iter(self.replicas.values())).catalog.service(service_id)
        assert entry is not None
        return entry.status

    def evidence(self, name: str, service_id: str) -> dict[str, Any]:
        entry = self.replicas[name].catalog.service(service_id)
        assert entry is not None
        found: dict[str, Any] = json.loads(entry.json_with_evidence(name))["evidence"]
        return found

    def second_opinion(self, name: str, service_id: str) -> dict[str, Any] | None:
        return self.evidence(name, service_id).get("second_opinion")

    def record(self, name: str) -> ReplicaRecord:
        membership = next(iter(self.replicas.values())).membership
        return membership._replicas[name].record

    def until(self, condition: Callable[[], bool]) -> None:
        """Pass time until it holds; fail when it doesn't within some minutes."""
        for _ in range(200):
            if on_loop(condition):
                return
            self.pass_time(PERIOD)
        raise AssertionError("it did not happen")


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    hosts = Hosts()
    yield hosts
    for name in list(hosts.replicas):
        hosts.crash(name)


def suspected(hosts: Hosts, name: str = "a") -> Callable[[], bool]:
    monitor = hosts.replicas[name].monitor
    return lambda: monitor.suspects is not None and monitor.suspects.held > 0


def test_a_service_that_others_reach_stays_healthy(hosts: Hosts) -> None:
    service_id = hosts.cut_off("a", "b", "c")
    hosts.until(lambda: hosts.second_opinion("a", service_id) is not None)
    hosts.pass_time(60)
    assert hosts.status(service_id) == "healthy"
    assert hosts.second_opinion("a", service_id) == {
        "state": "held",
        "message": "unreachable from replica a, reachable from b, c",
        "opinions": [
            {"replica": "b", "failing": False, "message": "HTTP 200"},
            {"replica": "c", "failing": False, "message": "HTTP 200"},
        ],
    }
    [reason] = hosts.replicas["a"].degraded()
    assert reason.startswith("1 check fails to connect from this replica")
    asked = len(hosts.probers["b"].asked)
    hosts.pass_time(30)
    assert len(hosts.probers["b"].asked) > asked, "they are asked again and again"


def test_a_service_that_dies_is_unhealthy(hosts: Hosts) -> None:
    for name in "abc":
        hosts.join_host(name)
    [service_id] = hosts.owned_by("a")
    hosts.register(service_id)
    hosts.pass_time(10)
    hosts.fail(service_id, *"abc")
    hosts.pass_time(20)
    assert hosts.status(service_id) == "unhealthy"
    [fault] = hosts.evidence("b", service_id)["faults"]
    assert "; unreachable from replica a, failing from" in fault["reason"]
    hosts.recover(service_id, *"abc")
    hosts.pass_time(10)
    assert hosts.status(service_id) == "healthy"


def test_a_death_during_a_partition_is_noticed(hosts: Hosts) -> None:
    service_id = hosts.cut_off("a", "b")
    hosts.until(suspected(hosts))
    hosts.pass_time(30)
    assert hosts.status(service_id) == "healthy"
    hosts.fail(service_id, "b")
    hosts.pass_time(16)
    assert hosts.status(service_id) == "unhealthy"


def test_an_answer_that_says_unhealthy_needs_nobody_else(hosts: Hosts) -> None:
    hosts.join_host("a")
    hosts.join_host("b")
    [service_id] = hosts.owned_by("a")
    hosts.register(service_id)
    hosts.fail(service_id, "a", how=BAD)
    hosts.until(lambda: hosts.status(service_id) == "unhealthy")
    assert not hosts.probers["b"].asked
    [fault] = hosts.evidence("a", service_id)["faults"]
    assert fault["reason"] == "HTTP 500; 3 checks in a row failed"


@pytest.mark.parametrize(
    ("host", "confirm"),
    [("a", 2), ("b", 1)],
    ids=["on the same host", "that does not take part"],
)
def test_a_replica_has_no_say(hosts: Hosts, host: str, confirm: int) -> None:
    hosts.join_host("a")
    hosts.join_host("b", host, confirm)
    [service_id] = hosts.owned_by("a")
    hosts.register(service_id)
    hosts.fail(service_id, "a")
    hosts.until(lambda: hosts.status(service_id) == "unhealthy")
    assert not hosts.probers["b"].asked
    [fault] = hosts.evidence("a", service_id)["faults"]
    assert fault["reason"] == "connection refused; 3 checks in a row failed"


def test_a_witness_that_never_answers_is_waited_for_and_no_longer(
    hosts: Hosts, caplog: pytest.LogCaptureFixture
) -> None:
    service_id = hosts.cut_off("a", "b")
    local = CheckOutcome(False, 0.0, "out of sockets", "local")
    hosts.fail(service_id, "b", how=local)
    hosts.until(suspected(hosts))
    hosts.pass_time(10)
    assert hosts.status(service_id) == "healthy"
    shown = hosts.second_opinion("a", service_id)
    assert shown is not None
    assert shown["message"] == "unreachable from replica a, no answer from b"
    hosts.pass_time(20)
    assert hosts.status(service_id) == "unhealthy"
    assert f"whether it reaches service {service_id}: decided alone" in caplog.text


def test_a_new_owner_starts_anew(hosts: Hosts) -> None:
    service_id = hosts.cut_off("a", "b")
    hosts.until(suspected(hosts))
    hosts.until(lambda: bool(hosts.record("b").opinions))
    names = iter("cdefghijklmnop")
    while hosts.replicas["a"].membership.owner(service_id) == "a":
        hosts.join_host(next(names))
    hosts.pass_time(10)
    assert hosts.status(service_id) == "healthy"
    assert hosts.record("a").suspects == ()
    assert hosts.record("b").opinions == ()
    assert hosts.second_opinion("a", service_id) is None
    assert not suspected(hosts)()


def test_a_question_that_all_have_answered_makes_room(hosts: Hosts) -> None:
    hosts.cut_off("a", "b")
    hosts.until(lambda: bool(hosts.record("b").opinions))
    [answered] = hosts.record("b").opinions
    hosts.pass_time(PERIOD)
    assert answered.number not in [each.number for each in hosts.record("a").suspects]
    hosts.pass_time(120)
    suspects = hosts.replicas["a"].monitor.suspects
    assert suspects is not None
    assert len(suspects._by_number) <= 2, "those before are forgotten"


def test_one_that_never_answers_does_not_keep_another_from_being_asked(
    hosts: Hosts,
) -> None:
    service_id = hosts.cut_off("a", "b", "c")
    hosts.fail(service_id, "c", how=CheckOutcome(False, 0.0, "sockets", "local"))
    hosts.until(lambda: bool(hosts.record("b").opinions))
    hosts.pass_time(60)
    assert hosts.status(service_id) == "healthy"
    hosts.fail(service_id, "b")
    hosts.pass_time(30)
    assert hosts.status(service_id) == "unhealthy"


def test_an_opinion_goes_with_the_suspicion(hosts: Hosts) -> None:
    service_id = hosts.cut_off("a", "b")
    hosts.until(lambda: bool(hosts.record("b").opinions))
    hosts.recover(service_id, "a")
    hosts.pass_time(10)
    assert hosts.record("a").suspects == ()
    assert hosts.record("b").opinions == ()
    assert hosts.second_opinion("a", service_id) is None


def test_a_check_with_a_name_is_confirmed_by_the_same_check(hosts: Hosts) -> None:
    hosts.join_host("a")
    hosts.join_host("b")
    [service_id] = hosts.owned_by("a")
    checks = [
        {"name": "db", "kind": "tcp", "port": 5432},
        {"name": "cache", "kind": "tcp", "port": 6379, "critical": False},
    ]
    hosts.register(service_id, checks=checks)
    for name in ("db", "cache"):
        hosts.probers["a"].answers[name] = DNS
    hosts.until(suspected(hosts))
    hosts.pass_time(10)
    db, cache = hosts.evidence("a", service_id)["checks"]
    assert db["second_opinion"]["message"] == (
        "unreachable from replica a, reachable from b"
    )
    assert "second_opinion" not in cache, "it only warns"
    assert {t.check.name for t in hosts.probers["b"].asked if t.check} == {"db"}
    hosts.probers["b"].answers["db"] = REFUSED
    hosts.until(lambda: hosts.status(service_id) == "unhealthy")


def test_a_lost_view_makes_nobody_decide_alone(hosts: Hosts) -> None:
    a = hosts.join_host("a")
    hosts.join_host("b")
    [service_id] = hosts.owned_by("a")
    hosts.register(service_id)
    hosts.fail(service_id, "a")
    hosts.fail(service_id, "b", how=CheckOutcome(False, 0.0, "sockets", "local"))
    hosts.until(suspected(hosts))
    a.view_health.stale_reason = "the store is away"
    hosts.pass_time(60)
    assert hosts.status(service_id) == "healthy"


def test_a_standstill_gives_the_others_a_full_term(hosts: Hosts) -> None:
    a = hosts.join_host("a")
    hosts.join_host("b")
    [service_id] = hosts.owned_by("a")
    hosts.register(service_id)
    hosts.fail(service_id, "a")
    hosts.fail(service_id, "b", how=CheckOutcome(False, 0.0, "sockets", "local"))
    hosts.until(suspected(hosts))
    term_of = PATIENCE * term(5.0, 5.0)
    for _ in range(3):
        hosts.pass_time(term_of - 2 * PERIOD)
        assert hosts.status(service_id) == "healthy"
        a.standstill.count += 1
    hosts.pass_time(2 * term_of)
    assert hosts.status(service_id) == "unhealthy"


def many_fail(hosts: Hosts, *names: str) -> str:
    """Make most hosts fail from these replicas; return a service of another."""
    *lost, dead = hosts.owned_by("a", 7)
    ids = [*lost, dead, *hosts.owned_by("b", 7)]
    for number, service_id in enumerate(ids):
        hosts.register(service_id, location=f"http://10.0.1.{number}/{service_id}")
    hosts.pass_time(10)
    for number, service_id in enumerate(ids):
        for name in names:
            if service_id != dead:
                answers = hosts.probers[name].answers
                answers[f"http://10.0.1.{number}/{service_id}"] = REFUSED
    for name in names:
        monitor = hosts.replicas[name].monitor
        hosts.until(lambda m=monitor: m.suspicion is not None)  # type: ignore[misc]
    location = f"http://10.0.1.{ids.index(dead)}/{dead}"
    for name in hosts.replicas:
        hosts.probers[name].answers[location] = REFUSED
    return dead


def test_another_replica_sees_a_death_while_this_one_doubts_itself(
    hosts: Hosts,
) -> None:
    hosts.join_host("a")
    hosts.join_host("b")
    dead = many_fail(hosts, "a")
    hosts.until(lambda: hosts.status(dead) == "unhealthy")
    catalog = hosts.replicas["a"].catalog
    assert [e.id for e in catalog.services() if e.status != "healthy"] == [dead]
    assert hosts.replicas["a"].monitor.suspicion is not None


def test_a_replica_that_doubts_itself_confirms_nothing(hosts: Hosts) -> None:
    hosts.join_host("a")
    hosts.join_host("b")
    dead = many_fail(hosts, "a", "b")
    hosts.pass_time(60)
    assert hosts.status(dead) == "healthy"


def test_thousands_of_suspects_take_turns(hosts: Hosts) -> None:
    """A record stays small, and all of them have a verdict in the end."""
    hosts.join_host("a")
    hosts.join_host("b")
    ids = hosts.owned_by("a", 800)
    for service_id in ids:
        location = f"http://10.0.0.1/{service_id}"
        hosts.register(service_id, location=location)
        hosts.fail(service_id, "a", "b")
    sizes: list[int] = []

    def all_unhealthy() -> bool:
        record = hosts.record("a")
        answers = hosts.record("b").opinions
        sizes.append(len(record.suspects))
        assert sum(len(s.id) for s in record.suspects) < SUSPECTS_BYTES
        assert sum(len(o.message) for o in answers) < OPINIONS_BYTES
        for name in "ab":
            stored = documents.encode_replica(hosts.record(name))
            assert len(stored) < MAX_IDS_BYTES + 1_000
        return all(hosts.status(service_id) == "unhealthy" for service_id in ids)

    hosts.until(all_unhealthy)
    assert 100 < max(sizes) < len(ids)


def test_a_record_without_questions_is_as_older_versions_know_it(
    hosts: Hosts,
) -> None:
    a = hosts.join_host("a", confirm=1)
    record = json.loads(documents.encode_replica(hosts.record("a")))
    assert set(record) == {"count", "host", "version", "started_at", "address"}
    assert a.monitor.suspects is None
