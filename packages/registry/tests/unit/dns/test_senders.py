"""Who has shown where they are, and who asks too much."""

from modularity_registry.dns.senders import MOST_PROVEN, PROVEN_SECONDS, Senders
from support.registry import ManualClock


def senders(trusted: str = "loopback", rate: str = "off") -> Senders:
    return Senders(trusted, rate, ManualClock().monotonic)


def test_trusted_are_those_in_the_networks_of_the_setting() -> None:
    some = senders("loopback,10.1.0.0/16")
    trusted = ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "10.1.2.3")
    assert all(map(some.trusts, trusted))
    assert not any(map(some.trusts, ("10.2.0.1", "192.168.0.1", "fd00::1")))
    assert not senders("off").trusts("127.0.0.1")


def test_sender_is_new_until_it_asks_by_tcp_and_again_an_hour_later() -> None:
    clock = ManualClock()
    some = Senders("off", "off", clock.monotonic)
    assert some.is_new("10.0.0.1")
    some.prove("10.0.0.1")
    assert not some.is_new("10.0.0.1")
    assert some.is_new("10.0.0.2")
    clock.advance(PROVEN_SECONDS - 1)
    assert not some.is_new("10.0.0.1")
    clock.advance(1)
    assert some.is_new("10.0.0.1")


def test_ipv6_address_stands_for_its_64() -> None:
    some = senders(rate="1/hour")
    some.prove("2001:db8:0:1::5")
    assert not some.is_new("2001:db8:0:1::6%eth0")
    assert some.is_new("2001:db8:0:2::5")
    assert not some.is_over("2001:db8:0:1::5")
    assert some.is_over("2001:db8:0:1::6")
    assert not some.is_over("2001:db8:0:2::6")


def test_number_of_those_who_are_remembered_is_bounded() -> None:
    some = senders()
    for number in range(MOST_PROVEN + 1):
        some.prove(f"10.0.{number >> 8}.{number & 255}")
    assert some.is_new("10.0.0.0")
    assert not some.is_new("10.0.0.1")
