"""DNS answers of a capability whose calls are split."""

from collections import Counter
from collections.abc import Iterator

import pytest

from modularity_registry.dns.messages import MOST
from support.integrations.dns import Site, site

GREET = "greet.capability.modularity"


@pytest.fixture
def dns_site() -> Iterator[Site]:
    with site() as found:
        found.register("a", "http://127.0.0.1:9001", version="1.0")
        found.register("b", "http://127.0.0.2:9002", version="2.0")
        found.register("c", "http://127.0.0.2:9003", version="2.1")
        yield found


def weights(dns_site: Site, name: str = GREET) -> dict[str, int]:
    """The weight of each port's record."""
    words = (text.split() for text in dns_site.find(name))
    return {port: int(weight) for _, weight, port, _ in words}


def test_srv_records_have_the_group_s_share_divided_among_its_own(
    dns_site: Site,
) -> None:
    dns_site.split(v1=90, v2=10)
    assert weights(dns_site) == {"9001": 65_535, "9002": 3_641, "9003": 3_641}
    dns_site.register("b", "http://127.0.0.2:9002", version="2.0", weight=3)
    assert weights(dns_site) == {"9001": 65_535, "9002": 5_461, "9003": 1_820}


def test_no_share_is_too_small_for_a_record(dns_site: Site) -> None:
    dns_site.split(v1=10_000, v2=1)
    assert min(weights(dns_site).values()) >= 1


def test_a_provider_without_weight_has_none_unless_its_whole_group(
    dns_site: Site,
) -> None:
    dns_site.split(v1=1, v2=1)
    dns_site.register("b", "http://127.0.0.2:9002", version="2.0", weight=0)
    assert weights(dns_site) == {"9001": 65_535, "9002": 0, "9003": 65_535}
    dns_site.register("c", "http://127.0.0.2:9003", version="2.1", weight=0)
    assert weights(dns_site) == {"9001": 65_535, "9002": 32_768, "9003": 32_768}


def test_groups_without_calls_have_no_records(dns_site: Site) -> None:
    dns_site.split(v1=0, v2=1)
    assert weights(dns_site).keys() == {"9002", "9003"}
    assert len(dns_site.find(GREET, "TXT")) == 2
    dns_site.drain("b")
    dns_site.drain("c")
    assert weights(dns_site).keys() == {"9001"}


def test_addresses_are_those_of_one_group_by_chance(dns_site: Site) -> None:
    dns_site.split(v1=50, v2=50)
    found = Counter(tuple(dns_site.find(GREET, "A")) for _ in range(200))
    assert found.keys() == {("127.0.0.1",), ("127.0.0.2",)}
    assert found["127.0.0.1",] == pytest.approx(100, abs=50)


def test_a_group_without_an_address_of_the_kind_leaves_it_to_the_others(
    dns_site: Site,
) -> None:
    dns_site.register("a", "http://[fd00::5]:9001", version="1.0")
    dns_site.split(v1=10_000, v2=1)
    assert dns_site.find(GREET, "A") == ["127.0.0.2"]
    assert dns_site.find(GREET, "AAAA") == ["fd00::5"]


def test_a_zone_counts_within_each_group(dns_site: Site) -> None:
    dns_site.register("b", "http://127.0.0.2:9002", version="2.0", zone="z")
    dns_site.split(v1=1, v2=1)
    near = weights(dns_site, "greet.capability.z.zone.modularity")
    assert near == {"9001": 65_535, "9002": 65_535}


def test_a_small_group_is_in_the_answer_among_very_many(dns_site: Site) -> None:
    for number in range(MOST + 100):
        dns_site.store(f"s{number}", f"http://10.{number // 256}.{number % 256}.1:80")
    dns_site.split(**{"1.0.0": 99, "2": 1})
    reply = dns_site.ask_by_tcp(GREET)
    ports = {data.port for rrset in reply.answer for data in rrset}
    assert len(ports & {9002, 9003}) >= 1 and 80 in ports
