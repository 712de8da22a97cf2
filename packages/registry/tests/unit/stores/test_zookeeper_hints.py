"""When what is remembered of a record in ZooKeeper is enough to compare a revision."""

import pytest

from modularity_registry.stores.base import Write
from modularity_registry.stores.zookeeper.hints import Hint, Hints, Versions
from modularity_registry.stores.zookeeper.layout import bucket_of

KEY = "services/a"
BUCKET = bucket_of(KEY)
UPDATE = Write(KEY, b"", 70)


@pytest.fixture
def hints() -> Hints:
    """Hints of a record at revision 70, whose bucket had 5 deletions before."""
    hints = Hints("epoch")
    hints.add_bucket(BUCKET, 5)
    hints.add(KEY, Hint(70, 2, 5))
    return hints


def test_a_known_revision_is_compared_by_versions(hints: Hints) -> None:
    assert hints.versions(UPDATE) == Versions(2, 5)
    assert hints.versions(UPDATE._replace(value=None)) == Versions(2, 5)


@pytest.mark.parametrize(
    "write", [Write(KEY, b"", 71), Write("services/b", b"", 70), Write(KEY, None, 0)]
)
def test_what_is_not_known_is_read_first(hints: Hints, write: Write) -> None:
    assert hints.versions(write) is None


@pytest.mark.parametrize(
    "write", [Write(KEY, b""), Write(KEY, None), Write("b", b"", 0)]
)
def test_without_a_revision_there_is_nothing_to_compare(
    hints: Hints, write: Write
) -> None:
    assert hints.versions(write) == Versions()


def test_a_deletion_by_others_makes_the_records_of_a_bucket_unsure(
    hints: Hints,
) -> None:
    hints.add_bucket(BUCKET, 6)
    assert hints.versions(UPDATE) is None


def test_ones_own_deletion_does_not(hints: Hints) -> None:
    hints.update({BUCKET: 6}, {"services/other": None})
    assert hints.versions(UPDATE) == Versions(2, 6)
    hints.update({BUCKET: 8}, {"services/other": None})  # one by others in between
    assert hints.versions(UPDATE) is None


def test_what_was_read_before_a_deletion_is_not_remembered_after_it(
    hints: Hints,
) -> None:
    hints.update({BUCKET: 6}, {KEY: None})
    hints.add(KEY, Hint(70, 2, 5))
    assert hints.versions(UPDATE) is None
