"""The search for an order finds one exactly if there is one."""

import itertools
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from support.faults import linearizability
from support.faults.history import SOMETHING, Outcome, Read, Write
from support.faults.linearizability import (
    Register,
    TooLong,
    after,
    fits,
    shows,
    unexplained,
)

OK, UNKNOWN, REFUSED = Outcome.OK, Outcome.UNKNOWN, Outcome.REFUSED


def write(
    begun: float,
    ended: float,
    value: str | None,
    outcome: Outcome = OK,
    revision: int | None = None,
    existed: bool | None = None,
    expected: int | None = None,
) -> Write:
    return Write("a", "one", begun, ended, outcome, value, revision, expected, existed)


def read(begun: float, ended: float, value: str | None, replica: str = "one") -> Read:
    return Read("a", replica, begun, ended, value)


@pytest.mark.parametrize(
    "writes, reads",
    [
        pytest.param([], [read(0, 1, None)], id="nothing"),
        pytest.param([write(0, 9, "x")], [read(1, 2, "x")], id="early effect"),
        pytest.param([write(0, 9, "x")], [read(1, 2, None)], id="late effect"),
        pytest.param(
            [write(0, 1, "x"), write(2, 9, "y"), write(2, 9, None)],
            [read(3, 4, None), read(5, 6, "y")],
            id="two at once",
        ),
        pytest.param(
            [write(0, 1, "x"), write(2, 3, None, UNKNOWN)],
            [read(4, 5, "x"), read(6, 7, None)],
            id="an unknown one that came late",
        ),
        pytest.param(
            [write(0, 1, "x", UNKNOWN)], [read(2, 3, None)], id="one that never came"
        ),
        pytest.param(
            [write(0, 1, "x", UNKNOWN), write(2, 3, "y", existed=True)],
            [],
            id="one that only another write met",
        ),
        pytest.param([write(0, 1, "x", REFUSED)], [read(2, 3, None)], id="refused"),
        pytest.param([write(0, 1, "x")], [read(2, 3, SOMETHING)], id="a heartbeat"),
        pytest.param(
            [write(0, 1, "x"), write(2, 3, "y")],
            [read(4, 5, "x", "two"), read(6, 7, "y", "two")],
            id="a replica that is behind",
        ),
    ],
)
def test_what_can_be_explained(writes: list[Write], reads: list[Read]) -> None:
    assert unexplained(writes, reads) is None


@pytest.mark.parametrize(
    "writes, reads",
    [
        pytest.param([write(0, 1, "x")], [read(2, 3, None)], id="a lost write"),
        pytest.param(
            [write(0, 1, "x"), write(2, 3, "y")], [read(4, 5, "x")], id="a stale read"
        ),
        pytest.param(
            [write(0, 1, "x"), write(2, 3, None)], [read(4, 5, "x")], id="resurrected"
        ),
        pytest.param(
            [write(0, 9, "x"), write(0, 9, "y")],
            [read(1, 2, "x"), read(3, 4, "y"), read(5, 6, "x")],
            id="back and forth",
        ),
        pytest.param([write(0, 1, "x", REFUSED)], [read(2, 3, "x")], id="refused"),
        pytest.param([write(0, 1, "x", existed=True)], [], id="nothing to replace"),
        pytest.param(
            [write(0, 1, "x"), write(2, 3, "y", expected=0)], [], id="not new"
        ),
        pytest.param([write(0, 1, None)], [], id="nothing to unregister"),
        pytest.param(
            [write(0, 1, "x")],
            [read(2, 3, SOMETHING)] * 0 + [read(2, 3, SOMETHING), read(4, 5, None)],
            id="gone without a word",
        ),
        pytest.param(
            [write(0, 1, "x"), write(2, 3, "y")],
            [read(4, 5, "y", "two"), read(6, 7, "x", "two")],
            id="a replica that goes back",
        ),
        pytest.param(
            [write(2, 3, "x")], [read(0, 1, "x", "two")], id="seen before it was asked"
        ),
        pytest.param(
            [write(0, 1, "x")],
            [replace(read(2, 3, None, "two"), final=True)],
            id="a final read of a replica that is behind",
        ),
    ],
)
def test_what_can_not_be_explained(writes: list[Write], reads: list[Read]) -> None:
    assert unexplained(writes, reads) is not None


def test_the_call_that_does_not_fit_is_named() -> None:
    stale = read(4, 5, "x")
    writes = [write(0, 1, "x"), write(2, 3, "y")]
    assert unexplained(writes, [read(1.2, 1.5, "x"), stale]) == stale


def test_a_search_without_an_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linearizability, "LARGEST_SEARCH", 3)
    writes = [write(0, 9, str(number)) for number in range(6)]
    with pytest.raises(TooLong):
        unexplained(writes, [read(10, 11, "none of them")])


INTERVALS = st.tuples(st.integers(0, 6), st.integers(1, 5))
VALUES = st.sampled_from(["x", "y", "z"])
WRITES = st.builds(
    lambda times, value, outcome, existed: write(
        times[0], times[0] + times[1], value, outcome, existed=existed
    ),
    INTERVALS,
    st.none() | VALUES,
    st.sampled_from([OK, OK, UNKNOWN]),
    st.sampled_from([None, None, True, False]),
)
READS = st.builds(
    lambda times, value, replica: read(
        times[0] + 0.5, times[0] + times[1], value, replica
    ),
    INTERVALS,
    st.none() | VALUES | st.just(SOMETHING),
    st.sampled_from(["one", "two"]),
)


@given(st.lists(WRITES, max_size=4), st.lists(READS, max_size=3))
@example([write(0, 1, None, UNKNOWN), write(0, 5, "x")], [read(6, 7, None)])
def test_it_agrees_with_trying_every_order(
    writes: list[Write], reads: list[Read]
) -> None:
    writes = [
        replace(each, value=each.value and f"{each.value}{number}")
        for number, each in enumerate(writes)
    ]
    values = [w.value for w in writes if w.value]
    reads = [
        (
            each
            if each.value in (None, SOMETHING)
            else replace(each, value=values[number % len(values)] if values else "q")
        )
        for number, each in enumerate(reads)
    ]
    assert (unexplained(writes, reads) is None) == any_order(writes, reads)


def any_order(writes: Sequence[Write], reads: Sequence[Read]) -> bool:
    """Say whether some order explains all, by trying each, with every choice."""
    must: list[Write | Read] = [w for w in writes if w.outcome is OK]
    must += reads
    perhaps = [w for w in writes if w.outcome is UNKNOWN]
    return any(
        explains(order)
        for count in range(len(perhaps) + 1)
        for chosen in itertools.combinations(perhaps, count)
        for order in itertools.permutations([*must, *chosen])
    )


def explains(order: Sequence[Write | Read]) -> bool:
    register = Register(None, None)
    for number, call in enumerate(order):
        if any(precedes(later, call) for later in order[number + 1 :]):
            return False
        if isinstance(call, Read):
            if not shows(register, call):
                return False
        elif fits(register, call):
            register = after(register, call)
        else:
            return False
    return True


def precedes(first: Write | Read, second: Write | Read) -> bool:
    if isinstance(first, Write) and first.outcome is UNKNOWN:
        return False
    same = first.replica == second.replica
    return first.ended < second.begun and (isinstance(second, Write) or same)
