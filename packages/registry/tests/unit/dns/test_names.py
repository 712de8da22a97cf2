"""Every capability and every id has a name in the DNS, and it is its own."""

import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2e.docs.blocks import table
from e2e.docs.reader import ROOT
from modularity_registry import config
from modularity_registry.dns.names import MAX_DOMAIN, Index, dns_name
from modularity_registry.errors import BadSetting
from modularity_registry.schema.patterns import CAPABILITY_PATTERN

# More of what is treated in a way of its own than chance would bring.
NAMES = st.one_of(
    st.from_regex(re.compile(CAPABILITY_PATTERN, re.ASCII), fullmatch=True).map(
        lambda name: name.rstrip("\n")
    ),
    st.text(alphabet="aA_.-:/25f3e", min_size=1, max_size=128).map(lambda x: "a" + x),
).map(lambda name: name[:128])
CODE = re.compile("`([^`]+)`")
ESCAPES = {"_2f": "/", "_3a": ":", "_2e": ".", "_5f": "_"}


def decoded(name: str) -> str:
    return re.sub("_(?:2f|3a|2e|5f)", lambda found: ESCAPES[found[0]], name)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("greet", "greet"),
        ("Greet", "greet"),
        ("weather.forecast", "weather.forecast"),
        ("get_weather", "get_weather"),
        ("greet/formal", "greet_2fformal"),
        ("urn:x", "urn_3ax"),
        ("a_2fb", "a_5f2fb"),
        ("a_2b", "a_2b"),
        ("a..b.", "a_2e.b_2e"),
        ("x" * 62, "x" * 62),
        ("a/" * 20, "a_2f" * 15 + "a_2f" * 5),
    ],
)
def test_names_are_readable(name: str, expected: str) -> None:
    if len(expected) > 62:
        expected = "_h" + hashlib.sha256(name.encode()).hexdigest()[:32]
    assert dns_name(name) == expected


def test_the_page_on_dns_has_it_right() -> None:
    page = (ROOT / "docs" / "dns.md").read_text()
    shown = [
        (name, names[0] if (names := CODE.findall(row[1])) else name)
        for row in table(page, "in the registry")
        for name in CODE.findall(row[0])
    ]
    assert len(shown) == 6
    assert [(name, dns_name(name)) for name, _ in shown] == shown


@pytest.mark.parametrize("name", ["X" * 63, "x." * 63 + "a" + ":" * 60])
def test_a_name_that_is_too_long_is_hashed(name: str) -> None:
    digest = hashlib.sha256(name.lower().encode()).hexdigest()
    assert dns_name(name) == f"_h{digest[:32]}"


@given(NAMES)
def test_what_is_not_hashed_can_be_read_back(name: str) -> None:
    found = dns_name(name)
    assert found == found.lower()
    if not found.startswith("_h"):
        assert decoded(found) == name.lower()


@given(NAMES)
def test_every_name_fits(name: str) -> None:
    labels = dns_name(name).split(".")
    assert all(1 <= len(label) <= 62 for label in labels)
    longest = f"_{'.'.join(labels)}._tcp.capability.{'d' * MAX_DOMAIN}"
    assert len(longest) <= 253


@given(NAMES, NAMES)
def test_only_case_makes_two_names_one(one: str, other: str) -> None:
    assert (dns_name(one) == dns_name(other)) == (one.lower() == other.lower())


@given(st.lists(st.tuples(NAMES, st.booleans())), NAMES)
def test_the_index_is_what_a_search_through_all_would_find(
    changes: list[tuple[str, bool]], asked: str
) -> None:
    index, present = Index(), set[str]()
    for name, there in changes:
        index.note(name, there)
        (present.add if there else present.discard)(name)
    for key in {dns_name(name) for name in (*present, asked)}:
        wanted = {name for name in present if dns_name(name) == key}
        assert set(index.find(key)) & present == wanted
        below = any(dns_name(name).endswith("." + key) for name in present)
        assert index.has_below(key) == below


@given(st.sets(NAMES))
def test_an_index_without_names_is_empty(names: set[str]) -> None:
    index = Index()
    for there in (True, False):
        for name in names:
            index.note(name, there)
    assert not index._kept and not index._aliases and not index._above


@pytest.mark.parametrize(
    ("written", "used"),
    [("Registry.Internal.", "registry.internal"), ("d" * 60, "d" * MAX_DOMAIN)],
)
def test_a_domain_is_taken_as_people_write_it(written: str, used: str) -> None:
    assert config.load({"dns_domain": written}, {}).dns_domain == used


@pytest.mark.parametrize("domain", ["", ".", "a..b", "-a", "a_b", "d" * 61, "é"])
def test_a_domain_that_can_not_be_one_is_refused(domain: str) -> None:
    with pytest.raises(BadSetting, match="--dns-domain"):
        config.load({"dns_domain": domain}, {})


def test_http_and_dns_can_not_have_the_same_port() -> None:
    with pytest.raises(BadSetting, match="--dns-port"):
        config.load({"dns_port": "5000"}, {})
