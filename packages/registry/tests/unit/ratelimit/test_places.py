"""Places, of which no client has all."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modularity_registry.ratelimit import Places
from support.registry import ManualClock


def test_client_has_at_most_its_share_and_all_have_the_total() -> None:
    places = Places("x", 4, 3)
    assert [places.take("a") for _ in range(4)] == [True, True, True, False]
    assert places.has_its_share("a")
    assert [places.take("b"), places.take("c")] == [True, False]
    assert (places.full, places.taken) == (True, 4)
    assert places.refused == {"share": 1, "full": 1}
    places.free("a")
    assert (places.full, places.has_its_share("a")) == (False, False)
    assert places.take("c")


def test_share_is_three_quarters_where_none_is_given() -> None:
    assert [Places("x", total).each for total in (1, 4, 100, 8192)] == [1, 3, 75, 6144]


def test_one_who_speaks_for_many_is_bound_by_the_total_alone() -> None:
    places = Places("x", 4, 1)
    assert [places.take("a", unlimited=True) for _ in range(5)] == [True] * 4 + [False]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans())))
def test_nothing_is_kept_of_those_who_left(steps: list[tuple[str, bool]]) -> None:
    places, held = Places("x", 5, 3), Counter[str]()
    for client, coming in steps:
        if coming:
            held[client] += places.take(client)
        elif held[client]:
            places.free(client)
            held[client] -= 1
        assert places.taken == held.total() <= 5
        assert max(held.values(), default=0) <= 3
    for client in held.elements():
        places.free(client)
    assert (places.taken, dict(places._taken_by)) == (0, {})


def test_shortage_is_a_fault_until_nobody_was_refused_for_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = ManualClock()
    places = Places("seats", 2, 1, "; get more", clock.monotonic)
    places.take("a")
    assert places.fault is None
    places.take("b")
    assert places.fault == "all 2 places for seats are taken; get more"
    for _ in range(3):
        assert not places.take("c")
    places.free("b")
    clock.advance(59)
    assert places.fault == "all 2 places for seats were taken a moment ago; get more"
    clock.advance(1)
    assert places.fault is None
    assert [record.getMessage() for record in caplog.records] == [
        "all 2 places for seats are taken; get more"
    ]
    places.take("b")
    places.take("c")
    assert len(caplog.records) == 2


def test_client_at_its_share_is_logged_once_and_no_fault(
    caplog: pytest.LogCaptureFixture,
) -> None:
    places = Places("seats", 4, 1, clock=ManualClock().monotonic)
    assert [places.take("a") for _ in range(4)] == [True, False, False, False]
    assert (places.fault, places.refused["share"]) == (None, 3)
    [record] = caplog.records
    assert "one client has the 1 places for seats" in record.getMessage()
