"""Names in a namespace lead to what is in it, and to nothing else."""

from collections.abc import Iterator

import dns.message
import pytest

from support.integrations.dns import Site, rcode, site

GREET = "greet.capability.modularity"
HERE, THERE = (f"greet.capability.team-{each}.ns.modularity" for each in "ab")


@pytest.fixture
def dns_site() -> Iterator[Site]:
    with site(namespaces=("team-a", "team-b")) as found:
        yield found


def at(port: int) -> list[str]:
    return [f"1 1 {port} {port}.127-0-0-1.addr.modularity."]


def negative(reply: dns.message.Message) -> str:
    """The code of a negative answer, which has to be one of the whole domain."""
    [soa] = reply.authority
    assert soa.name.to_text() == "modularity." and not reply.answer
    return rcode(reply)


def test_a_capability_in_a_namespace_has_its_providers_there(dns_site: Site) -> None:
    dns_site.register("web", "http://127.0.0.1:9001")
    dns_site.register("web", "http://127.0.0.1:9002", "team-a")
    assert (dns_site.find(GREET), dns_site.find(HERE)) == (at(9001), at(9002))
    assert dns_site.find(HERE.upper()) == at(9002)
    assert dns_site.find("_greet._tcp.capability.team-a.ns.modularity") == at(9002)
    assert dns_site.find(HERE, "A") == ["127.0.0.1"]
    [text] = dns_site.find(HERE, "TXT")
    assert "location=http://127.0.0.1:9002" in text
    # What SRV leads to is an address by its name, in whichever namespace.
    target = at(9002)[0].split()[-1]
    assert dns_site.find(target, "A") == ["127.0.0.1"]
    additional = dns_site.ask(HERE).additional
    assert [each.name.to_text() for each in additional] == [target]


def test_a_service_in_a_namespace_is_found_by_its_id_there(dns_site: Site) -> None:
    dns_site.register("web", "http://127.0.0.1:9002", "team-a")
    assert dns_site.find("web.service.team-a.ns.modularity") == at(9002)
    for name in ("web.service.modularity", "web.service.team-b.ns.modularity"):
        assert negative(dns_site.ask(name)) == "NXDOMAIN"


def test_nobody_is_seen_from_another_namespace(dns_site: Site) -> None:
    dns_site.register("a", "http://127.0.0.1:9002", "team-a")
    for name in (GREET, THERE):
        assert negative(dns_site.ask(name)) == "NXDOMAIN"
    dns_site.register("b", "http://127.0.0.1:9003", "team-b")
    dns_site.register("d", "http://127.0.0.1:9001")
    assert [dns_site.find(each) for each in (GREET, HERE, THERE)] == [
        at(9001),
        at(9002),
        at(9003),
    ]
    # Answers that are kept as bytes follow their own namespace alone.
    reply = dns_site.client.delete("/api/ns/team-a/services/a")
    assert reply.status_code == 200
    assert negative(dns_site.ask(HERE)) in ("NOERROR", "NXDOMAIN")
    assert [dns_site.find(each) for each in (GREET, THERE)] == [at(9001), at(9003)]


def test_a_zone_and_a_namespace_are_named_together(dns_site: Site) -> None:
    for zone, port in (("eu-1a", 9001), ("eu-1b", 9002)):
        location = f"http://127.0.0.1:{port}"
        dns_site.register(zone, location, "team-a", zone=zone, region="eu")
    name = "greet.capability.{}.zone.team-a.ns.modularity"
    assert dns_site.find(name.format("eu-1a")) == at(9001)
    assert dns_site.find(name.format("eu-1b")) == at(9002)
    assert len(dns_site.find(name.format("us-1"))) == 2
    assert len(dns_site.find(HERE)) == 2
    # The zones of a namespace are its own.
    dns_site.register("d", "http://127.0.0.1:9009", zone="eu-1a")
    assert dns_site.find("greet.capability.eu-1a.zone.modularity") == at(9009)


def test_names_in_between_are_there_and_others_are_not(dns_site: Site) -> None:
    dns_site.register("a", "http://127.0.0.1:9002", "team-a", capabilities=["x.y"])
    for name in (
        "team-a.ns",
        "capability.team-a.ns",
        "service.team-b.ns",
        "y.capability.team-a.ns",
        "zone.team-a.ns",
        "_tcp.capability.team-a.ns",
    ):
        assert negative(dns_site.ask(f"{name}.modularity")) == "NOERROR", name
    for name in (
        "team-c.ns",
        "default.ns",
        "x.y.capability.team-c.ns",
        "x.y.capability.ns",
        "x.y.capability.team-a",
        "x.team-a.ns",
        "ns.team-a.ns",
        "addr.team-a.ns",
        "127-0-0-1.addr.team-a.ns",
        "x.y.capability.team-a.ns.team-a.ns",
        "y.capability.team-b.ns",
    ):
        assert negative(dns_site.ask(f"{name}.modularity")) == "NXDOMAIN", name
    assert dns_site.find("ns.modularity", "A") == ["127.0.0.1"]


def test_a_zone_transfer_and_any_show_no_names(dns_site: Site) -> None:
    dns_site.register("a", "http://127.0.0.1:9002", "team-a")
    for name in ("modularity", "team-a.ns.modularity"):
        assert rcode(dns_site.ask(name, "AXFR")) == "REFUSED"
    assert dns_site.find(HERE, "ANY") == ['"RFC8482" ""']


def test_the_serial_grows_with_a_change_in_any_namespace(dns_site: Site) -> None:
    def serial() -> int:
        [soa] = dns_site.find("modularity", "SOA")
        return int(soa.split()[2])

    before = serial()
    dns_site.register("a", "http://127.0.0.1:9002", "team-a")
    assert serial() > before
