"""A caller who is refused again and again can't fill the audit, or hide others."""

from modularity_registry.audit.refusal_quota import (
    ADDRESSES,
    CLIENTS_NAMED,
    PER_CLIENT,
    WINDOW,
    RefusalQuota,
)
from modularity_registry.model.rights import network_of
from support.registry import ManualClock


def test_of_one_client_the_first_are_shown_and_the_rest_is_counted() -> None:
    clock = ManualClock()
    refusals = RefusalQuota(clock)
    began = clock.now()
    taken = [refusals.take(None, "10.0.0.7") for _ in range(PER_CLIENT + 5)]
    assert taken == [True] * PER_CLIENT + [False] * 5
    assert refusals.end_window() is None
    clock.advance(WINDOW)
    left_out = refusals.end_window()
    assert left_out is not None
    found = (left_out.count, left_out.clients, left_out.since)
    assert found == (5, {"10.0.0.7": 5}, began)
    assert refusals.take(None, "10.0.0.7")
    clock.advance(WINDOW)
    assert refusals.end_window() is None


def test_a_token_has_room_of_its_own_whatever_others_do() -> None:
    refusals = RefusalQuota(ManualClock())
    for number in range(ADDRESSES * 2):
        refusals.take(None, f"10.0.{number // 250}.{number % 250}")
    assert refusals.take("deploy", "10.0.0.1")
    assert not refusals.take(None, "10.9.9.9")


def test_strangers_without_number_take_no_memory_without_end() -> None:
    clock = ManualClock()
    refusals = RefusalQuota(clock)
    taken = sum(refusals.take(None, f"2001:db8:{n:x}::1") for n in range(1, 20_000))
    assert taken == ADDRESSES
    assert len(refusals._seen) == ADDRESSES
    for _ in range(2 * PER_CLIENT):
        for number in range(1, ADDRESSES):
            refusals.take(None, f"2001:db8:{number:x}::1")
    left_out = refusals.end_window(at_once=True)
    assert left_out is not None
    assert len(left_out.clients) == CLIENTS_NAMED


def test_of_ipv6_a_client_is_a_whole_network() -> None:
    assert (
        network_of("2001:db8::1") == network_of("2001:db8::ffff:2") == "2001:db8::/64"
    )
    assert network_of("2001:db8:0:1::1") != network_of("2001:db8::1")
    assert network_of("10.0.0.7") == "10.0.0.7"
    assert network_of("no:address") == "no:address"
    assert network_of("unknown") == "unknown"
