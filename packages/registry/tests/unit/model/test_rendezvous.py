"""Who owns a key: the same for every observer, whatever its version."""

from collections import Counter
from collections.abc import Iterator

from modularity_registry.model.rendezvous import (
    Named,
    is_picked,
    pick,
    pick_weighted,
)

KEYS = [f"key-{number}" for number in range(2_000)]
REPLICAS = [Named("a"), Named("b"), Named("c")]
WEIGHTS = {"blue": 1, "green": 3}


def test_replicas_of_two_releases_agree_on_who_owns_a_key() -> None:
    """In a rolling upgrade both are there: what is picked here must never change."""
    assert (
        "".join(pick(key, REPLICAS).id for key in KEYS[:24])
        == "baacabbbcbacabbacaabcbaa"
    )
    assert (
        "".join(pick_weighted(key, WEIGHTS)[0] for key in KEYS[:24])
        == "ggbgbgggbgggbgbgbggggbgb"
    )


def test_order_of_the_candidates_does_not_matter() -> None:
    turned = REPLICAS[::-1]
    assert all(pick(key, REPLICAS) == pick(key, turned) for key in KEYS)


def test_when_a_replica_leaves_only_its_own_keys_move() -> None:
    left = REPLICAS[:2]
    owners = {key: pick(key, REPLICAS) for key in KEYS}
    assert all(
        pick(key, left) == owner for key, owner in owners.items() if owner in left
    )
    assert set(Counter(pick(key, left).id for key in KEYS)) == {"a", "b"}


def test_each_group_gets_its_share_of_the_keys() -> None:
    share = Counter(pick_weighted(key, WEIGHTS) for key in KEYS)["green"] / len(KEYS)
    assert abs(share - 0.75) < 0.03


def test_a_weight_that_grows_only_draws_keys_to_its_group() -> None:
    more = WEIGHTS | {"green": 6}
    greens = [key for key in KEYS if pick_weighted(key, WEIGHTS) == "green"]
    assert all(pick_weighted(key, more) == "green" for key in greens)


def test_one_knows_of_itself_what_all_pick() -> None:
    for key in KEYS:
        picked = {
            each
            for each in REPLICAS
            if is_picked(key, each, [other for other in REPLICAS if other is not each])
        }
        assert picked == {pick(key, REPLICAS)}


def test_alone_one_has_every_key() -> None:
    assert all(is_picked(key, REPLICAS[0], []) for key in KEYS)


def test_one_looks_at_others_only_until_one_comes_before_it() -> None:
    looked = 0

    def others() -> Iterator[Named]:
        nonlocal looked
        for number in range(19):
            looked += 1
            yield Named(f"other-{number}")

    for key in KEYS:
        is_picked(key, REPLICAS[0], others())
    # 2.6 on average: the sum of 1/n up to 20, less one.
    assert looked < 4 * len(KEYS)
