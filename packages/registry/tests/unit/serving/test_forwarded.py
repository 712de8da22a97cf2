"""Whom trusted proxies name as the caller, and that nobody else can."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modularity_registry import config
from modularity_registry.api import replies
from modularity_registry.errors import BadSetting
from modularity_registry.serving.forwarded import UNKNOWN, Proxies, forwarded

LOOPBACK_PROXY = "127.0.0.1"
FAR_PROXY = "10.0.0.5"
TRUSTED = "127.0.0.0/8, 10.0.0.0/24,::1"


def seen(
    peer: str = LOOPBACK_PROXY, header: str = "forwarded", **environ: str
) -> dict[str, Any]:
    """What the application is told of a request."""
    told = {"REMOTE_ADDR": peer, "wsgi.url_scheme": "http", **environ}
    Proxies(TRUSTED, header).believe(told)
    return told


def of(value: str, peer: str = LOOPBACK_PROXY) -> tuple[str, bool]:
    """The caller's address, and whether they are on this machine."""
    told = seen(peer, HTTP_FORWARDED=value)
    return told["REMOTE_ADDR"], replies.caller_is_local(told)


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("for=203.0.113.9", "203.0.113.9"),
        ("For=203.0.113.9;Proto=https;by=10.0.0.1", "203.0.113.9"),
        ('for="203.0.113.9:4711"', "203.0.113.9"),
        ('for="[2001:db8::7]:4711"', "2001:db8::7"),
        ('for="[2001:DB8:0:0::7]"', "2001:db8::7"),
        ("for=203.0.113.1, for=203.0.113.9", "203.0.113.9"),
        ("for=203.0.113.1\t,\tfor=203.0.113.9\t", "203.0.113.9"),
        ("for=203.0.113.9, for=10.0.0.7", "203.0.113.9"),
        ('for=203.0.113.9, for="[::1]", for=10.0.0.7', "203.0.113.9"),
        ("for=10.0.0.8, for=10.0.0.7", "10.0.0.8"),
        ('by="a,b;c\\"d";for=203.0.113.9', "203.0.113.9"),
        ('for="[::ffff:203.0.113.9]"', "203.0.113.9"),
    ],
)
def test_the_nearest_that_is_no_proxy_of_ours_calls(value: str, address: str) -> None:
    assert of(value) == (address, False)


@pytest.mark.parametrize(
    "value",
    [
        "",
        ",",
        "for=",
        "for=unknown",
        "for=_hidden",
        'for="_hidden:80"',
        "for=127.0.0.1, for=unknown",
        "for=127.0.0.1, for=_hidden",
        "proto=https",
        "127.0.0.1",
        "for=127.0.0.1:80",
        "for=::1",
        "for=[::1]",
        'for="::1"',
        'for="[127.0.0.1]"',
        'for="[::1%lo]"',
        "for=127.1",
        "for=127.0.0.01",
        "for=0x7f000001",
        "for=2130706433",
        "for=localhost",
        "for=127.0.0.1;for=127.0.0.1",
        "for =127.0.0.1",
        "for= 127.0.0.1",
        'for="127.0.0.1',
        'for="127.0.0.1"x',
        "for=127.0.0.1;",
        "for=127.0.0.1 for=127.0.0.1",
        "for=127.0.0.1\x00",
        "for=\uff1127.0.0.1",
        "for=127.0.0.1, ",
        "for=" + "1" * 50_000,
    ],
)
def test_what_cannot_be_read_is_nobody_and_never_local(value: str) -> None:
    assert of(value) == (UNKNOWN, False)


def test_what_a_caller_sends_does_not_hide_what_a_proxy_adds() -> None:
    for sent in ('for="', 'for="\\', "rubbish", "for=127.0.0.1;", ",,", "", 'by="x'):
        for added in ("for=203.0.113.9", 'for="203.0.113.9:80";proto=https'):
            assert of(f"{sent},{added}") == ("203.0.113.9", False), (sent, added)
            assert of(f"{sent}, {added}") == ("203.0.113.9", False), (sent, added)


@pytest.mark.parametrize("value", ["for=127.0.0.1", 'for="[::1]:80"', "for=127.9.9.9"])
def test_a_caller_on_this_machine_is_local_through_a_proxy_on_it(value: str) -> None:
    assert of(value)[1]
    assert of(value, peer="::1")[1]


def test_another_machines_loopback_is_not_this_ones() -> None:
    assert of("for=127.0.0.1", peer=FAR_PROXY) == ("127.0.0.1", False)
    assert of("for=127.0.0.1, for=10.0.0.7") == ("127.0.0.1", False)
    assert of("for=127.0.0.1, for=unknown, for=127.0.0.1")[1] is False


@pytest.mark.parametrize("name", ["X_FORWARDED_FOR", "X_REAL_IP", "VIA"])
def test_a_second_header_about_the_way_makes_nobody_local(name: str) -> None:
    told = seen(HTTP_FORWARDED="for=127.0.0.1", **{f"HTTP_{name}": "127.0.0.1"})
    assert not replies.caller_is_local(told)


@pytest.mark.parametrize("peer", ["203.0.113.1", "10.0.1.1", "::2", "", "unix"])
def test_nobody_else_is_believed(peer: str) -> None:
    told = seen(peer, HTTP_FORWARDED="for=127.0.0.1;proto=https")
    assert told["REMOTE_ADDR"] == peer
    assert told["wsgi.url_scheme"] == "http"
    assert not replies.caller_is_local(told)


def test_a_peer_is_known_by_its_ipv4_address_in_ipv6_clothes_too() -> None:
    assert of("for=203.0.113.9", peer="::ffff:10.0.0.5")[0] == "203.0.113.9"


def test_who_comes_without_a_proxy_is_who_they_are() -> None:
    told = seen()
    assert told["REMOTE_ADDR"] == LOOPBACK_PROXY
    assert replies.caller_is_local(told)
    assert not replies.caller_is_local(seen(FAR_PROXY))


def test_the_scheme_is_the_callers() -> None:
    assert seen(HTTP_FORWARDED="for=1.2.3.4;proto=https")["wsgi.url_scheme"] == "https"
    assert seen(HTTP_FORWARDED="for=1.2.3.4;proto=x")["wsgi.url_scheme"] == "http"
    chain = "for=1.2.3.4;proto=https, for=10.0.0.7;proto=http"
    assert seen(HTTP_FORWARDED=chain)["wsgi.url_scheme"] == "https"


def test_only_the_chosen_header_counts() -> None:
    assert seen(HTTP_X_FORWARDED_FOR="1.2.3.4")["REMOTE_ADDR"] == LOOPBACK_PROXY
    told = seen(header="x-forwarded-for", HTTP_FORWARDED="for=1.2.3.4")
    assert told["REMOTE_ADDR"] == LOOPBACK_PROXY
    assert not replies.caller_is_local(told)


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("127.0.0.1, 203.0.113.9 , 10.0.0.7", "203.0.113.9"),
        ("203.0.113.9:4711", "203.0.113.9"),
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:db8::7]:80", "2001:db8::7"),
        ("127.0.0.1,nonsense", UNKNOWN),
        ("", UNKNOWN),
        ("127.0.0.1", "127.0.0.1"),
    ],
)
def test_the_older_header_names_callers_but_makes_nobody_local(
    value: str, address: str
) -> None:
    told = seen(header="x-forwarded-for", HTTP_X_FORWARDED_FOR=value)
    assert told["REMOTE_ADDR"] == address
    assert not replies.caller_is_local(told)


@given(st.text(st.characters(codec="latin-1"), max_size=80))
def test_no_prefix_changes_who_a_proxy_names(sent: str) -> None:
    value = f'{sent},for="[2001:db8::7]:80";proto=https'
    assert of(value) == ("2001:db8::7", False)


@given(st.lists(st.sampled_from(['"', "\\", ",", ";", "for=", "127.0.0.1", " ", "["])))
def test_no_rubbish_changes_who_a_proxy_names(sent: list[str]) -> None:
    assert forwarded("".join(sent) + ",for=203.0.113.9")[-1].address is not None
    assert of("".join(sent) + ",for=203.0.113.9") == ("203.0.113.9", False)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"trusted_proxies": "10.0.0.1/8"}, "has host bits set"),
        ({"trusted_proxies": "nginx"}, "write addresses or networks"),
        ({"trusted_proxies": ""}, "write addresses or networks"),
        ({"forwarded_header": "x-real-ip"}, "must be forwarded or x-forwarded-for"),
        (
            {"forwarded_header": "x-forwarded-for"},
            "without --trusted-proxies",
        ),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    flags: dict[str, str], said: str
) -> None:
    with pytest.raises(BadSetting, match=said):
        config.load(flags, {})
