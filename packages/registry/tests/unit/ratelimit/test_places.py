"""Places, of which no client has all."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from modularity_registry.ratelimit import Places


def test_client_has_at_most_its_share_and_all_have_the_total() -> None:
    places = Places(4, 3)
    assert [places.take("a") for _ in range(4)] == [True, True, True, False]
    assert places.has_its_share("a")
    assert [places.take("b"), places.take("c")] == [True, False]
    assert (places.full, places.taken, places.refused) == (True, 4, 2)
    places.free("a")
    assert (places.full, places.has_its_share("a")) == (False, False)
    assert places.take("c")


def test_share_is_three_quarters_where_none_is_given() -> None:
    assert [Places(total).each for total in (1, 4, 100, 8192)] == [1, 3, 75, 6144]


def test_one_who_speaks_for_many_is_bound_by_the_total_alone() -> None:
    places = Places(4, 1)
    assert [places.take("a", unlimited=True) for _ in range(5)] == [True] * 4 + [False]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans())))
def test_nothing_is_kept_of_those_who_left(steps: list[tuple[str, bool]]) -> None:
    places, held = Places(5, 3), Counter[str]()
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
