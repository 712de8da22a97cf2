"""What a location may look like and which addresses a setting allows."""

import ipaddress
import re
import socket
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from modularity_registry.errors import AddressRefused
from modularity_registry.model.location import (
    InvalidLocation,
    Location,
    parse_health_path,
    parse_location,
)
from modularity_registry.network.address_policy import AddressPolicy
from modularity_registry.network.name_lookup import NameNotResolved

DEFAULT = AddressPolicy.parse("loopback,private")
EVERYTHING = AddressPolicy.parse("0.0.0.0/0,::/0")


def never_asked(host: str, port: int) -> Sequence[str]:
    raise AssertionError(f"a literal was looked up: {host}")


@pytest.mark.parametrize(
    ("text", "scheme", "host", "port", "path", "literal"),
    [
        ("http://localhost:8081", "http", "localhost", 8081, "", False),
        ("http://localhost:8081/", "http", "localhost", 8081, "", False),
        ("http://10.0.0.5", "http", "10.0.0.5", 80, "", True),
        ("https://api.example", "https", "api.example", 443, "", False),
        ("HTTP://API.Example:8080/V1/", "http", "api.example", 8080, "/V1", False),
        (
            "http://my_service-1:80/a%20b;c=d/",
            "http",
            "my_service-1",
            80,
            "/a%20b;c=d",
            0,
        ),
        ("http://[FD00:0:0::5]:8080", "http", "fd00::5", 8080, "", True),
        ("https://[::1]", "https", "::1", 443, "", True),
        ("http://1password.example", "http", "1password.example", 80, "", False),
        (
            "http://xn--bcher-kva.example",
            "http",
            "xn--bcher-kva.example",
            80,
            "",
            False,
        ),
    ],
)
def test_an_http_location_is_read_into_its_parts(
    text: str, scheme: str, host: str, port: int, path: str, literal: bool
) -> None:
    found = parse_location(text, "http")
    address = ipaddress.ip_address(host) if literal else None
    assert found == Location("http", scheme, host, port, path, address)


@pytest.mark.parametrize("mode", ["tcp", "grpc"])
def test_a_tcp_or_grpc_location_is_host_and_port(mode: str) -> None:
    found = parse_location(f"{mode}://[fd00::5]:5432", mode)
    assert (found.host, found.port, found.authority) == (
        "fd00::5",
        5432,
        "[fd00::5]:5432",
    )
    assert parse_location(f"{mode}://db:65535", mode).authority == "db:65535"


@pytest.mark.parametrize(
    ("text", "mode", "advice"),
    [
        ("localhost:8081", "http", "http:// or https://"),
        (
            "http://db:5432",
            "tcp",
            "start with tcp:// for mode 'tcp', as in tcp://10.0.0.5:5432",
        ),
        ("tcp://db", "tcp", "has no port"),
        ("http://127.1", "http", "four decimal numbers"),
        ("http://fd00::5", "http", "in brackets"),
        ("http://localhost.", "http", "no trailing dot"),
        ("http://bücher.example", "http", "xn-- form"),
        ("http://a:0", "http", "1 to 65535"),
        ("http://user@a", "http", "no user or password"),
        ("http://a?b", "http", "no query or fragment"),
        ("http://a/{id}", "http", "percent-encode"),
        ("http://a/../b", "http", "no . or .. parts"),
        ("http://" + "a/" * 1024, "http", "at most 2048 characters"),
        ("ipc://x", "ipc", "mode 'ipc', which the registry does not connect to"),
    ],
)
def test_a_refusal_says_what_to_write_instead(
    text: str, mode: str, advice: str
) -> None:
    with pytest.raises(InvalidLocation) as refused:
        parse_location(text, mode)
    assert advice in refused.value.detail


def test_the_longest_names_are_taken() -> None:
    label = "a" * 63
    name = ".".join([label, label, label, "b" * 61])
    assert len(name) == 253
    assert parse_location(f"http://{name}:80", "http").host == name


@pytest.mark.parametrize("path", ["/", "/_module/health", "/h?full=1&a=/x?", "/a%20b"])
def test_a_health_path_may_have_a_query(path: str) -> None:
    assert parse_health_path(path) == path


PIECES = st.sampled_from(
    [
        *("http://", "https://", "tcp://", "grpc://", "HTTP://", "//", ":", "/", "@"),
        *("127.0.0.1", "10.0.0.5", "[::1]", "[fd00::5]", "localhost", "db_1", "0x7f"),
        *(":80", ":0", ":65536", ".", "..", "%", "%41", "\\", "?", "#", "[", "]", "-"),
        *("。", "①", "\r\n", "\t", "\x00", "xn--", "a" * 64, "1", "_", "%25lo", "::"),
    ]
)
TEXTS = st.one_of(st.text(), st.lists(PIECES, max_size=8).map("".join))
MODES = st.sampled_from(["http", "tcp", "grpc", "ipc", ""])


@given(TEXTS, MODES)
@example("http://\ud800", "http")
@example("http://[::1]:80/x", "http")
def test_parsing_raises_nothing_but_its_own_error(text: str, mode: str) -> None:
    try:
        found = parse_location(text, mode)
    except InvalidLocation:
        return
    assert found.host.isascii()
    assert found.host == found.host.lower()
    assert 1 <= found.port <= 65535
    assert not found.path.endswith("/")


HOSTS = st.one_of(
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda ip: f"[{ip.exploded.upper()}]"),
    st.from_regex(r"[A-Za-z0-9_]{1,10}([.-][a-z0-9_]{1,5}){0,3}", fullmatch=True),
    st.lists(st.sampled_from("0x7f.1-a_A"), max_size=12).map("".join),
)
PATHS = st.one_of(
    st.just(""), st.from_regex(r"(/[A-Za-z0-9._~!$&'()*+,;=:@%-]{0,5}){0,4}")
)


@given(HOSTS, st.one_of(st.just(""), st.integers(0, 70_000).map(":{}".format)), PATHS)
def test_the_http_client_reads_what_was_parsed(host: str, port: str, path: str) -> None:
    """The client is handed the parsed parts; reading the original it must agree."""
    text = f"http://{host}{port}{path}"
    try:
        found = parse_location(text, "http")
    except InvalidLocation:
        return
    for url in (URL(text), URL(f"http://{found.authority}{found.path}", encoded=True)):
        assert (url.raw_host, url.port, url.user) == (found.host, found.port, None)


@given(HOSTS)
def test_the_system_reads_what_was_parsed(host: str) -> None:
    """A literal is the same address to getaddrinfo, and a name is none to it."""
    try:
        found = parse_location(f"http://{host}:80", "http")
    except InvalidLocation:
        return
    try:
        entry = socket.getaddrinfo(found.host, 80, flags=socket.AI_NUMERICHOST)[0]
    except OSError:
        assert found.address is None
    else:
        assert ipaddress.ip_address(entry[4][0]) == found.address


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.255.255.255", "::1", "10.1.2.3", "172.16.0.1"),
        *("172.31.255.255", "192.168.0.1", "fc00::1", "fdff::1"),
    ],
)
def test_loopback_and_private_addresses_pass_by_default(address: str) -> None:
    DEFAULT.check_addresses([address], caller_is_local=True)
    DEFAULT.check_addresses([ipaddress.ip_address(address)], caller_is_local=True)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "172.32.0.1", "11.0.0.1", "2606:4700::1", "100.64.0.1"]
)
def test_a_public_address_is_refused_with_the_setting_that_would_help(
    address: str,
) -> None:
    with pytest.raises(AddressRefused) as refused:
        DEFAULT.check_addresses([address], caller_is_local=True)
    assert address in refused.value.detail
    assert "REGISTRY_ALLOWED_NETWORKS" in refused.value.detail
    EVERYTHING.check_addresses([address], caller_is_local=True)
    AddressPolicy.parse(address).check_addresses([address], caller_is_local=True)


@pytest.mark.parametrize(
    ("address", "rule"),
    [
        ("169.254.169.254", "link-local"),
        ("fe80::1", "link-local"),
        ("fe80::1%1", "zone id"),
        ("fd00::1%eth0", "zone id"),
        ("::1%lo", "zone id"),
        ("224.0.0.251", "multicast"),
        ("ff02::fb", "multicast"),
        ("0.0.0.0", "unspecified"),
        ("::", "unspecified"),
        ("255.255.255.255", "broadcast"),
        ("240.0.0.1", "reserved"),
        ("0.1.2.3", "reserved"),
        ("100::1", "reserved"),
        ("4000::1", "reserved"),
        ("fec0::1", "reserved"),
        ("fd00:ec2::254", "metadata"),
        ("fd00:ec2::23", "metadata"),
        ("fd20:ce::254", "metadata"),
        ("fd00:42::42", "metadata"),
        ("100.100.100.200", "metadata"),
        ("192.0.0.192", "metadata"),
        ("168.63.129.16", "metadata"),
        ("::ffff:10.0.0.1", "IPv4"),
        ("::ffff:0:10.0.0.1", "IPv4"),
        ("::10.0.0.1", "IPv4"),
        ("::2", "IPv4"),
        ("64:ff9b::10.0.0.1", "IPv4"),
        ("64:ff9b:1::10.0.0.1", "IPv4"),
        ("2002:a00:1::", "IPv4"),
        ("2001::1", "IPv4"),
        ("fd00::5efe:10.0.0.1", "IPv4"),
        ("fd00::200:5efe:10.0.0.1", "IPv4"),
        ("", "not an IP address"),
        ("127.1", "not an IP address"),
        ("0177.0.0.1", "not an IP address"),
        ("localhost", "not an IP address"),
    ],
)
def test_some_addresses_pass_under_no_setting(address: str, rule: str) -> None:
    for policy in (DEFAULT, EVERYTHING):
        with pytest.raises(AddressRefused) as refused:
            policy.check_addresses([address], caller_is_local=True)
        assert rule in refused.value.detail
        assert "REGISTRY_ALLOWED_NETWORKS" not in refused.value.detail


@given(st.ip_addresses())
def test_an_allowed_address_is_ordinary_unicast(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    """The table against the standard library's own, which is drawn from IANA's."""
    try:
        EVERYTHING.check_addresses([address], caller_is_local=True)
    except AddressRefused:
        return
    assert not address.is_multicast
    assert not address.is_link_local
    assert not address.is_unspecified
    if isinstance(address, ipaddress.IPv6Address):
        assert address.ipv4_mapped is None
        assert address.sixtofour is None
        assert address.teredo is None
        assert address.is_loopback or not address.is_reserved
    else:
        assert not address.is_reserved


@pytest.mark.parametrize(
    ("setting", "advice"),
    [
        ("", "empty entry"),
        ("loopback,,private", "empty entry"),
        ("public", "write loopback, private, an address or a network"),
        ("10.0.0.5/8", "write 10.0.0.0/8 for the network, or 10.0.0.5 for the one"),
        ("fd00::5/8", "write fd00::/8 for the network, or fd00::5"),
        ("10.0.0.0/33", "'10.0.0.0/33' is not understood"),
        ("10.0.0.0/255.0.0.0", "is not understood"),
        ("10.0.0.0/0.0.0.255", "is not understood"),
        ("10.0.0.0/", "is not understood"),
        ("10.0.0/24", "is not understood"),
        ("10.0.0.0/+8", "is not understood"),
        ("fd00::%1/64", "is not understood"),
        ("http://10.0.0.1", "is not understood"),
        ("169.254.169.254", "link-local"),
        ("fe80::/10", "link-local"),
        ("::ffff:10.0.0.0/104", "write the IPv4 address itself"),
        ("239.0.0.0/8", "multicast"),
    ],
)
def test_a_bad_setting_is_explained_in_one_line(setting: str, advice: str) -> None:
    with pytest.raises(ValueError, match=re.escape(advice)) as bad:
        AddressPolicy.parse(setting)
    assert str(bad.value).startswith("REGISTRY_ALLOWED_NETWORKS")
    assert "\n" not in str(bad.value)


def test_a_setting_is_words_networks_and_addresses() -> None:
    policy = AddressPolicy.parse("::1, 203.0.113.0/24,2001:db8::7, loopback ")
    for address in ("127.0.0.1", "::1", "203.0.113.9", "2001:db8::7"):
        policy.check_addresses([address], caller_is_local=True)
    for address in ("10.0.0.1", "203.0.114.1", "2001:db8::8"):
        with pytest.raises(AddressRefused):
            policy.check_addresses([address], caller_is_local=True)


@pytest.mark.parametrize(
    "address",
    [
        *("1.0.0.0", "169.253.255.255", "169.255.0.0", "223.255.255.255"),
        *("100.100.100.199", "100.100.100.201", "168.63.129.15", "168.63.129.17"),
        *("192.0.0.191", "192.0.0.193", "2000::", "2001:1::", "2003::", "2001:ffff::"),
        *("fd00:ec1::", "fd00:ec3::", "fd20:ce::253", "fd20:ce::255", "fd00:42::41"),
        *("fd00::5eff:a00:1", "fd00::5efd:a00:1", "fd00::200:5eff:a00:1", "fdff::"),
    ],
)
def test_neighbours_of_what_is_never_allowed_can_be(address: str) -> None:
    EVERYTHING.check_addresses([address], caller_is_local=False)


def test_a_literal_is_never_looked_up() -> None:
    location = parse_location("http://10.0.0.5:8080", "http")
    DEFAULT.check_location(location, caller_is_local=False, lookup=never_asked)


def test_every_address_of_a_name_must_pass() -> None:
    location = parse_location("http://service:8080", "http")

    def answers(*found: str) -> None:
        DEFAULT.check_location(
            location, caller_is_local=False, lookup=lambda host, port: found
        )

    answers("10.0.0.5", "fd00::5")
    with pytest.raises(AddressRefused, match=r"8\.8\.8\.8"):
        answers("10.0.0.5", "8.8.8.8")


@pytest.mark.parametrize(
    "error", [socket.gaierror(socket.EAI_NONAME, "unknown"), UnicodeError("label")]
)
def test_a_name_that_does_not_resolve_is_refused(error: Exception) -> None:
    def fail(host: str, port: int) -> Sequence[str]:
        raise error

    def nothing(host: str, port: int) -> Sequence[str]:
        return []

    for lookup in (fail, nothing):
        with pytest.raises(NameNotResolved, match="no-such has no address"):
            DEFAULT.check_location(
                parse_location("http://no-such", "http"),
                caller_is_local=True,
                lookup=lookup,
            )
