"""Sorted keys against a sorted set, and readers who keep what they took."""

from hypothesis import given
from hypothesis import strategies as st

from modularity_registry.catalog.sorted_keys import LARGEST_CHUNK, SortedKeys

KEYS = st.text("abc", min_size=1, max_size=4)


@given(st.lists(st.tuples(st.booleans(), KEYS)))
def test_they_agree_with_a_sorted_set(changes: list[tuple[bool, str]]) -> None:
    keys, model = SortedKeys(), set[str]()
    for present, key in changes:
        (keys.add if present else keys.remove)(key)
        (model.add if present else model.discard)(key)
        assert keys.all() == sorted(model)


@given(st.randoms(use_true_random=False))
def test_many_keys_come_and_go_in_any_order(random: object) -> None:
    names = [f"s{number}" for number in range(4 * LARGEST_CHUNK)]
    random.shuffle(names)  # type: ignore[attr-defined]  # hypothesis' own Random
    keys = SortedKeys()
    for name in names:
        keys.add(name)
    assert keys.all() == sorted(names)
    for name in names[1:]:
        keys.remove(name)
    assert keys.all() == names[:1]


def test_a_reader_keeps_what_it_took() -> None:
    keys = SortedKeys()
    keys.add("b")
    taken = keys.all()
    keys.add("a")
    keys.remove("b")
    assert (taken, keys.all()) == (["b"], ["a"])
