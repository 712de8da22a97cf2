"""What the name server answers, seen with another library's eyes."""

from collections import Counter
from collections.abc import Iterator

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rdataclass
import dns.rdatatype
import pytest

from modularity_registry.dns.messages import MOST
from modularity_registry.dns.names import dns_name
from support.integrations.dns import Site, rcode, site, texts

GREET = "greet.capability.modularity"
SOA = "ns.modularity. hostmaster.modularity."


@pytest.fixture
def dns_site() -> Iterator[Site]:
    with site() as found:
        yield found


def is_empty(reply: dns.message.Message, code: str) -> bool:
    """Whether it is a negative answer that resolvers can keep (RFC 2308)."""
    [soa] = reply.authority
    named = soa.name == dns.name.from_text("modularity")
    said = soa[0].to_text()
    assert named and soa.ttl == 5 and said.startswith(SOA) and said.endswith(" 5")
    return rcode(reply) == code and not reply.answer


def test_srv_records_lead_to_all_healthy_providers(dns_site: Site) -> None:
    dns_site.register("one", "http://127.0.0.1:9001", weight=3)
    dns_site.register("two", "http://[fd00::5]", weight=0)
    dns_site.register("three", "https://localhost/path")
    dns_site.register("four", "grpc://127.0.0.4:50051", mode="grpc")
    reply = dns_site.ask(GREET)
    assert sorted(texts(reply.answer)) == [
        "1 0 80 80.fd00-0-0-0-0-0-0-5.addr.modularity.",
        "1 1 443 localhost.",
        "1 1 50051 50051.127-0-0-4.addr.modularity.",
        "1 3 9001 9001.127-0-0-1.addr.modularity.",
    ]
    assert {each.name.to_text(): texts([each]) for each in reply.additional} == {
        "80.fd00-0-0-0-0-0-0-5.addr.modularity.": ["fd00::5"],
        "50051.127-0-0-4.addr.modularity.": ["127.0.0.4"],
        "9001.127-0-0-1.addr.modularity.": ["127.0.0.1"],
    }
    assert reply.flags & dns.flags.AA and not reply.flags & dns.flags.RA
    assert {each.ttl for each in (*reply.answer, *reply.additional)} == {5}


def test_srv_targets_have_addresses(dns_site: Site) -> None:
    for target in ("127-0-0-1", "9001.127-0-0-1"):
        assert dns_site.find(f"{target}.addr.modularity", "A") == ["127.0.0.1"]
    name = "fd00-0-0-0-0-0-0-5.addr.modularity"
    assert dns_site.find(name, "AAAA") == ["fd00::5"]
    assert is_empty(dns_site.ask(name, "A"), "NOERROR")
    for wrong in (
        "127-0-0-256",
        "1-2-3",
        "g-0-0-0-0-0-0-5",
        "1-2-3-4-5-6-7-8-9",
        "x.1-2-3-4",
        "1.1.1-2-3-4",
    ):
        assert is_empty(dns_site.ask(f"{wrong}.addr.modularity", "A"), "NXDOMAIN")


def test_addresses_are_told_once_each(dns_site: Site) -> None:
    dns_site.register("one", "http://127.0.0.1:9001")
    dns_site.register("two", "http://127.0.0.1:9002")
    dns_site.register("three", "http://[fd00::5]:9003")
    dns_site.register("four", "http://localhost:9003")
    assert dns_site.find(GREET, "A") == ["127.0.0.1"]
    assert dns_site.find(GREET, "AAAA") == ["fd00::5"]


def test_of_names_alone_one_is_chosen_and_not_kept(dns_site: Site) -> None:
    dns_site.store("one", "http://one.example:9001")
    dns_site.store("two", "https://two.example")
    seen = set()
    for _ in range(40):
        for kind in ("A", "AAAA"):
            [cname] = dns_site.ask(GREET, kind).answer
            assert cname.rdtype == dns.rdatatype.CNAME and cname.ttl == 0
            seen.add(cname[0].to_text())
    assert seen == {"one.example.", "two.example."}


def test_two_services_at_one_place_are_one_record(dns_site: Site) -> None:
    dns_site.register("one", "http://127.0.0.1:9001", weight=65_535)
    dns_site.register("two", "http://127.0.0.1:9001/other", weight=3)
    assert dns_site.find(GREET) == ["1 65535 9001 9001.127-0-0-1.addr.modularity."]


def test_text_says_which_service_it_is(dns_site: Site) -> None:
    long = "x" * 300
    dns_site.register("Plain:1", "http://127.0.0.1:9001")
    dns_site.register("far", f"http://127.0.0.1:9001/{long}", version=long[:64])
    dns_site.register("inside", "worker é", mode="embedded")
    assert dns_site.find(GREET, "TXT") == [
        r'"id=Plain:1" "version=1.2.0" "location=http://127.0.0.1:9001"',
        f'"id=far" "version={long[:64]}"',
        r'"id=inside" "version=1.2.0" "location=worker \195\169"',
    ]


def test_a_service_without_a_port_has_a_text_alone(dns_site: Site) -> None:
    dns_site.register("inside", "worker 7", mode="standalone")
    name = "inside.service.modularity"
    for kind in ("SRV", "A", "AAAA"):
        assert is_empty(dns_site.ask(name, kind), "NOERROR")
    assert len(dns_site.find(name, "TXT")) == 1


def test_a_location_that_can_not_be_read_is_a_text_alone(dns_site: Site) -> None:
    dns_site.store("one", "http://host:x")
    assert is_empty(dns_site.ask(GREET), "NOERROR")
    assert len(dns_site.find(GREET, "TXT")) == 1


def test_who_is_not_healthy_is_left_out(dns_site: Site) -> None:
    for number, name in enumerate(("one", "two", "three")):
        dns_site.register(name, f"http://127.0.0.1:900{number}")
    dns_site.drain("one")
    dns_site.fail("two")
    assert dns_site.find(GREET) == ["1 1 9002 9002.127-0-0-1.addr.modularity."]
    for name in ("one", "two"):
        assert is_empty(dns_site.ask(f"{name}.service.modularity"), "NOERROR")
    dns_site.drain("three")
    assert is_empty(dns_site.ask(GREET), "NOERROR")
    for name in ("one", "two", "three"):
        dns_site.unregister(name)
    assert is_empty(dns_site.ask(GREET), "NXDOMAIN")
    assert is_empty(dns_site.ask("one.service.modularity"), "NXDOMAIN")


def test_the_order_changes(dns_site: Site) -> None:
    for number in range(1, 4):
        dns_site.register(f"s{number}", f"http://127.0.0.{number}:9001")
    for kind in ("SRV", "A", "TXT"):
        first = Counter(texts(dns_site.ask(GREET, kind).answer)[0] for _ in range(60))
        assert len(first) == 3, kind


@pytest.mark.parametrize(
    "name",
    ["greet/formal", "urn:x:y", "a.b.c", "a..b.", "a_2fb", "a._tcp", "x" * 100, "T/U"],
)
def test_any_name_can_be_asked_for(dns_site: Site, name: str) -> None:
    dns_site.register("one", "http://127.0.0.1:9001", capabilities=[name])
    expected = ["1 1 9001 9001.127-0-0-1.addr.modularity."]
    asked = dns_name(name)
    for each in (asked, asked.upper(), f"_{asked}._tcp"):
        assert dns_site.find(f"{each}.capability.modularity") == expected, each


def test_names_that_differ_in_case_share_one(dns_site: Site) -> None:
    dns_site.register("x", "http://127.0.0.1:9001", capabilities=["Greet"])
    dns_site.register("X", "http://127.0.0.2:9001", capabilities=["greet"])
    assert dns_site.find("gReeT.capability.modularity", "A") == [
        "127.0.0.1",
        "127.0.0.2",
    ]
    assert len(dns_site.find("x.service.modularity", "A")) == 2
    dns_site.unregister("X")
    assert dns_site.find("x.service.modularity", "A") == ["127.0.0.1"]


def test_names_above_others_are_there(dns_site: Site) -> None:
    # Else a resolver that asks label by label (RFC 9156) would stop too early.
    dns_site.register("one", "http://127.0.0.1:9001", capabilities=["a.b.c"])
    for name in ("b.c", "c", "_tcp", "b.c._tcp", "c._tcp"):
        reply = dns_site.ask(f"{name}.capability.modularity", "A")
        assert is_empty(reply, "NOERROR"), name
    for name in ("capability", "service", "addr"):
        assert is_empty(dns_site.ask(f"{name}.modularity", "A"), "NOERROR")
    for name in ("a.b.capability", "x.b.c.capability", "_x._tcp.capability", "x"):
        assert is_empty(dns_site.ask(f"{name}.modularity", "A"), "NXDOMAIN"), name


def test_a_dot_within_a_label_parts_nothing(dns_site: Site) -> None:
    dns_site.register("a.b", "http://127.0.0.1:9001")
    assert dns_site.find("a.b.service.modularity", "A") == ["127.0.0.1"]
    assert is_empty(dns_site.ask(r"a\.b.service.modularity", "A"), "NXDOMAIN")


def test_the_zone_itself(dns_site: Site) -> None:
    [soa] = dns_site.find("modularity", "SOA")
    assert soa.startswith(SOA)
    reply = dns_site.ask("modularity", "NS")
    assert texts(reply.answer) == ["ns.modularity."]
    assert texts(reply.additional) == ["127.0.0.1"]
    assert dns_site.find("ns.modularity", "A") == ["127.0.0.1"]
    assert is_empty(dns_site.ask("modularity", "A"), "NOERROR")
    serial = int(soa.split()[2])
    dns_site.register("one", "http://127.0.0.1:9001")
    assert int(dns_site.find("modularity", "SOA")[0].split()[2]) > serial


def test_a_zone_may_have_a_domain_of_several_labels() -> None:
    with site(domain="registry.internal", ttl=0) as found:
        found.register("one", "http://127.0.0.1:9001")
        reply = found.ask("one.service.REGISTRY.internal")
        assert texts(reply.answer) == [
            "1 1 9001 9001.127-0-0-1.addr.registry.internal."
        ]
        assert reply.answer[0].ttl == 0
        assert rcode(found.ask("one.service.modularity")) == "REFUSED"
        assert rcode(found.ask("internal")) == "REFUSED"


def test_a_question_for_everything_gets_little(dns_site: Site) -> None:
    dns_site.register("one", "http://127.0.0.1:9001")
    assert dns_site.find(GREET, "ANY") == ['"RFC8482" ""']
    assert is_empty(dns_site.ask("x.service.modularity", "ANY"), "NXDOMAIN")


def test_others_are_refused(dns_site: Site) -> None:
    for name in ("example.com", ".", "xmodularity"):
        reply = dns_site.ask(name, "A")
        assert rcode(reply) == "REFUSED" and not reply.flags & dns.flags.AA
    assert rcode(dns_site.ask(GREET, rdclass=dns.rdataclass.CH)) == "REFUSED"
    assert rcode(dns_site.ask_by_tcp("modularity", "TYPE252")) == "REFUSED"


def test_the_question_comes_back_as_it_was_sent(dns_site: Site) -> None:
    name = "gREet.CAPability.MODularity."
    [question] = dns_site.ask(name).question
    assert str(question.name) == name


def test_newer_extensions_get_the_version_that_is_known(dns_site: Site) -> None:
    reply = dns_site.ask(GREET, use_edns=1)
    assert rcode(reply) == "BADVERS" and reply.edns == 0 and not reply.answer


def test_options_that_nobody_knows_change_nothing(dns_site: Site) -> None:
    dns_site.register("one", "http://127.0.0.1:9001")
    cookie = dns.edns.GenericOption("COOKIE", b"12345678")
    reply = dns_site.ask(GREET, options=[cookie], want_dnssec=True)
    assert len(reply.answer) == 1 and not reply.options
    assert reply.payload == 1232 and reply.ednsflags & dns.flags.DO
    assert dns_site.ask(GREET, use_edns=False).edns == -1


def test_an_answer_that_does_not_fit_is_asked_for_by_tcp(dns_site: Site) -> None:
    for number in range(MOST):
        location = f"http://10.1.{number // 250}.{number % 250}:9001"
        dns_site.register(f"s{number}", location)
    sizes = {}
    for payload in (512, 1232, 4096, 65_535):
        query = {"payload": payload} if payload > 512 else {"use_edns": False}
        reply = dns_site.ask(GREET, **query)
        sizes[payload] = len(reply.to_wire(max_size=65_535))
        assert reply.flags & dns.flags.TC and reply.answer and not reply.additional
        assert sizes[payload] <= min(payload, 8192)
    assert sizes[65_535] > 8000
    reply = dns_site.ask_by_tcp(GREET)
    assert not reply.flags & dns.flags.TC
    assert len(texts(reply.answer)) == MOST
    assert len(dns_site.ask_by_tcp(GREET, "A").answer[0]) == MOST
    assert dns_site.ask_by_tcp(GREET, "TXT").answer


def test_additional_records_alone_are_no_reason_for_tcp(dns_site: Site) -> None:
    for number in range(8):
        dns_site.register(f"s{number}", f"http://10.0.0.{number}:9001")
    reply = dns_site.ask(GREET, use_edns=False)
    assert len(texts(reply.answer)) == 8
    assert 0 < len(reply.additional) < 8
    assert not reply.flags & dns.flags.TC


def test_of_very_many_providers_some_are_told(dns_site: Site) -> None:
    for number in range(MOST + 200):
        location = f"http://10.1.{number // 250}.{number % 250}:9001"
        dns_site.register(f"s{number}", location)
    seen = {
        text for _ in range(10) for text in texts(dns_site.ask_by_tcp(GREET).answer)
    }
    assert len(seen) > MOST


def in_zone(zone: str) -> str:
    return f"greet.capability.{zone}.zone.modularity"


def ports(site: Site, name: str) -> list[str]:
    return [answer.split()[2] for answer in site.find(name)]


def test_a_zone_has_names_of_its_own(dns_site: Site) -> None:
    dns_site.register("a", "http://127.0.0.1:9001", zone="a", region="eu")
    dns_site.register("b", "http://127.0.0.1:9002", zone="B.x", region="eu")
    dns_site.register("c", "http://127.0.0.1:9003", zone="c", region="us")
    assert ports(dns_site, GREET) == ["9001", "9002", "9003"]
    assert ports(dns_site, in_zone("a")) == ["9001"]
    assert ports(dns_site, in_zone("b.x")) == ["9002"]
    assert ports(dns_site, in_zone("B.X")) == ["9002"]
    assert ports(dns_site, f"_greet._tcp.{in_zone('c').partition('.')[2]}") == ["9003"]
    assert ports(dns_site, in_zone("none")) == ["9001", "9002", "9003"]


def test_primary_and_backup_providers_have_names_of_their_own(dns_site: Site) -> None:
    dns_site.register("a", "http://127.0.0.1:9001", priority=10)
    dns_site.register("b", "http://127.0.0.1:9002", priority=20, zone="b")
    dns_site.register("c", "http://127.0.0.1:9003", priority=30)
    [record] = texts(dns_site.ask("_greet._tcp.backup.modularity").answer)
    assert record == "21 1 9002 9002.127-0-0-1.addr.modularity."
    assert ports(dns_site, GREET) == ["9001"]
    assert ports(dns_site, "greet.primary.modularity") == ["9001"]
    assert ports(dns_site, "greet.backup.b.zone.modularity") == ["9002"]
    assert ports(dns_site, "greet.primary.backup.zone.modularity") == ["9001"]
    assert ports(dns_site, "greet.capability.backup.zone.modularity") == ["9001"]
    dns_site.drain("b")
    assert ports(dns_site, "greet.backup.modularity") == ["9003"]
    dns_site.drain("a")
    assert ports(dns_site, GREET) == ["9003"]
    assert is_empty(dns_site.ask("greet.primary.modularity"), "NOERROR")
    assert ports(dns_site, "greet.backup.modularity") == ["9003"]
    dns_site.unregister("a")
    dns_site.unregister("b")
    assert ports(dns_site, "greet.primary.modularity") == ["9003"]
    assert is_empty(dns_site.ask("greet.backup.modularity"), "NOERROR")
    assert is_empty(dns_site.ask("none.backup.modularity"), "NXDOMAIN")


def test_names_of_a_zone_spill_over_and_come_back(dns_site: Site) -> None:
    dns_site.register("a", "http://127.0.0.1:9001", zone="a", region="eu")
    for number in (2, 3, 4):
        location = f"http://127.0.0.1:900{number}"
        dns_site.register(f"b{number}", location, zone="b", region="eu")
    dns_site.register("c", "http://127.0.0.1:9005", zone="c", region="us")
    assert ports(dns_site, in_zone("a")) == ["9001"]
    dns_site.drain("a")
    assert ports(dns_site, in_zone("a")) == ["9002", "9003", "9004"]
    dns_site.register("a", "http://127.0.0.1:9001", zone="a", region="eu")
    assert ports(dns_site, in_zone("a")) == ["9001"]


def test_names_in_a_zone_exist_or_not_as_without_it(dns_site: Site) -> None:
    dns_site.register("a", "http://127.0.0.1:9001", zone="a")
    for name in ("zone", "a.zone", "capability.a.zone"):
        assert is_empty(dns_site.ask(f"{name}.modularity"), "NOERROR")
    for name in ("other.capability.a.zone", "a.service.a.zone.x"):
        assert is_empty(dns_site.ask(f"{name}.modularity"), "NXDOMAIN")
