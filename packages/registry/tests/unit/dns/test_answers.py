"""Answers are kept as bytes, until what they are made of changes."""

import dns.flags
import dns.message
import pytest

from modularity_registry import schema
from modularity_registry.dns import answers, messages
from modularity_registry.dns.answers import Answers
from modularity_registry.dns.messages import Query, Rendered
from modularity_registry.dns.names import Names
from modularity_registry.dns.zone import Zone
from modularity_registry.runtime import Registry
from support.registry import registration

GREET = "greet.capability.modularity"


class Bench:
    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        names = Names(registry.catalog)
        registry.feed.listen(names)
        self.answers = Answers(Zone(names, "modularity", ttl=5))

    def register(self, service_id: str, **changes: object) -> None:
        changes.setdefault("location", f"http://10.0.0.1/{service_id}")
        body = schema.encode(registration(service_id, **changes))
        parsed = schema.parse_registration(body)
        self.registry.call(self.registry.commands.register(parsed, True))

    def unregister(self, service_id: str) -> None:
        self.registry.call(self.registry.commands.unregister(service_id))

    def find(self, name: str = GREET, kind: str = "TXT") -> Rendered:
        return self.answers.find(query(name, kind), 512)


def query(name: str = GREET, kind: str = "TXT") -> Query:
    return messages.read(dns.message.make_query(name, kind).to_wire())


@pytest.fixture
def bench(registry: Registry) -> Bench:
    return Bench(registry)


def test_an_answer_stays_until_a_provider_changes(bench: Bench) -> None:
    bench.register("one")
    first = bench.find()
    assert bench.find() is first
    bench.register("two", capabilities=["other"])
    assert bench.find() is first, "no provider of it"
    bench.register("three")
    assert len(bench.find().parts) == 2
    bench.unregister("one")
    bench.unregister("three")
    assert bench.find().parts == ()


def test_a_service_s_answer_stays_until_it_changes(bench: Bench) -> None:
    name = "one.service.modularity"
    assert bench.find(name).parts == ()
    bench.register("one")
    first = bench.find(name)
    bench.register("two")
    assert bench.find(name) is first and len(first.parts) == 1
    bench.register("one", version="2")
    assert bench.find(name).parts != first.parts


def test_an_answer_of_a_split_stays_until_that_changes(bench: Bench) -> None:
    bench.register("one", version="1")
    bench.register("two", version="2")
    commands, call = bench.registry.split_commands, bench.registry.call
    call(commands.put("greet", {"v1": 1, "v2": 1}))
    first = bench.find()
    assert len(first.parts) == 2
    bench.register("other", capabilities=["other"])
    assert bench.find() is first, "no provider of it"
    call(commands.put("greet", {"v2": 1}))
    assert len(bench.find().parts) == 1
    call(commands.end("greet"))
    assert len(bench.find().parts) == 2


def test_addresses_of_a_split_are_chosen_anew_each_time(bench: Bench) -> None:
    bench.register("one", version="1")
    bench.registry.call(bench.registry.split_commands.put("greet", {"v1": 1}))
    assert bench.find(kind="A") is not bench.find(kind="A")


def test_names_that_come_to_share_one_are_found(bench: Bench) -> None:
    bench.register("one", capabilities=["greet"])
    assert len(bench.find().parts) == 1
    bench.register("two", capabilities=["Greet"])
    assert len(bench.find().parts) == 2


def test_what_is_not_there_is_asked_for_again_after_each_change(bench: Bench) -> None:
    first = bench.find("x.capability.modularity")
    assert first.flags & 15 == messages.Rcode.NXDOMAIN
    assert bench.find("x.capability.modularity") is first
    bench.register("one", capabilities=["a.x"])
    assert bench.find("x.capability.modularity").flags & 15 == messages.Rcode.NOERROR


@pytest.mark.parametrize("bound", ["MAX_ANSWERS", "MAX_RECORDS"])
def test_what_is_kept_has_a_bound(
    bench: Bench, bound: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, bound, 10)
    for number in range(25):
        bench.register(f"s{number}")
        assert len(bench.find(f"s{number}.service.modularity").parts) == 1
        kept = bench.answers._kept.values()
        assert 0 < len(kept) <= 10
        assert bench.answers._records == sum(len(each.answer.parts) for each in kept)


def test_a_reply_repeats_what_is_the_caller_s_own(bench: Bench) -> None:
    bench.register("one")
    for name, wants_dnssec in ((GREET.upper(), False), (GREET, True)):
        asked = dns.message.make_query(name, "TXT", id=4711, want_dnssec=wants_dnssec)
        packet = asked.to_wire()
        read = messages.read(packet)
        reply = messages.reply(packet[:2], read, bench.answers.find(read, 512), 512)
        parsed = dns.message.from_wire(reply)
        assert asked.is_response(parsed)
        assert str(parsed.question[0].name) == f"{name}."
        assert parsed.edns == asked.edns and len(parsed.answer) == 1


def test_far_behind_no_pointer_reaches(bench: Bench) -> None:
    for number in range(400):
        location = f"http://10.1.{number // 250}.{number % 250}:9001"
        bench.register(f"s{number}", location=location)
    read = query(kind="SRV")
    reply = messages.reply(
        bytes(2), read, bench.answers.find(read, 65_535), 65_535, True
    )
    parsed = dns.message.from_wire(reply)
    assert len(parsed.answer[0]) == 400
    targets = {data.target for data in parsed.answer[0]}
    assert 0 < len(parsed.additional) < 400
    assert {rrset.name for rrset in parsed.additional} < targets


def test_of_a_crowd_only_what_can_fit_is_read(bench: Bench) -> None:
    for number in range(messages.MOST + 1):
        location = f"http://10.1.{number // 250}.{number % 250}:9001"
        bench.register(f"s{number}", location=location)
    read = query(kind="A")
    first, second = (bench.answers.find(read, 512) for _ in range(2))
    assert first.parts != second.parts, "another choice each time"
    assert len(first.parts) == 512 // messages.SHORTEST
    reply = dns.message.from_wire(
        messages.reply(bytes(2), read, first, 512), raise_on_truncation=False
    )
    assert reply.flags & dns.flags.TC
    assert len(bench.answers.find(read, 65_535).parts) == messages.MOST
