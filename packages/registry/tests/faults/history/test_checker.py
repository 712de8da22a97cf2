"""A right history is right, and each kind of violation is found when it is planted."""

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.faults.checker import check, lost_writes
from support.faults.figures import figures
from support.faults.history import History, Outcome, Read, Signal, Write
from support.faults.streams import check_streams


def recorded(seed: int, calls: int = 60) -> History:
    """A history as a right registry would leave it; its last read is final."""
    chance = random.Random(seed)
    history = History()
    held: dict[str, tuple[str, int]] = {}
    history.heard(Signal("s", "connected", "e-0", fresh=True))
    revision = 0
    for number in range(calls):
        service_id = chance.choice("ab")
        begun, ended = number - chance.random(), number + chance.random()
        present = held.get(service_id)
        times = service_id, "one", begun, ended
        outcome = chance.choice([Outcome.OK] * 6 + [Outcome.UNKNOWN, Outcome.REFUSED])
        turn = chance.random()
        if turn < 0.4:
            value, told = present or (None, None)
            history.read(begun, ended, [Read(*times, value, told, revision)])
            continue
        value = None if turn < 0.5 and present else f"v{number}"
        acted = outcome is Outcome.OK or (outcome is Outcome.UNKNOWN and turn < 0.7)
        revision += acted
        told = revision if outcome is Outcome.OK else None
        existed = None if value is None or told is None else present is not None
        history.wrote(Write(*times, outcome, value, told, None, existed))
        if acted:
            held.pop(service_id, None)
            if value is not None:
                held[service_id] = value, revision
            kind = "service.updated" if value else "service.unregistered"
            place = f"e-{revision}"
            history.heard(Signal("s", kind, place, service_id, value, revision))
    for service_id in "ab":
        value, told = held.get(service_id, (None, None))
        read = Read(service_id, "one", calls, calls + 1, value, told, revision, True)
        history.read(calls, calls + 1, [read])
    return history


def kinds(history: History) -> set[str]:
    return {violation.kind for violation in check(history)}


@given(st.integers(0, 2**32))
def test_a_right_history_has_no_violation(seed: int) -> None:
    assert check(recorded(seed)) == []


def plant_stale_read(history: History) -> None:
    first, *_, last = (
        write for write in registrations(history) if write.service_id == "a"
    )
    begun = last.ended + 0.01
    times = "a", "one", begun, begun + 0.01
    history.reads.append(Read(*times, first.value, first.revision))


def plant_lost_write(history: History) -> None:
    settle(history, "a", "last", 1_000)
    history.reads = [
        (
            replace(read, value=None, revision=None)
            if read.final and read.service_id == "a"
            else read
        )
        for read in history.reads
    ]
    # One whose outcome is unknown may explain it.
    history.writes = [w for w in history.writes if w.outcome is Outcome.OK]


def plant_refused_but_present(history: History) -> None:
    write = Write("a", "one", 500, 501, Outcome.REFUSED, "refused")
    history.wrote(write)
    history.reads.append(Read("a", "one", 502, 503, "refused", 999))


def plant_refused_event(history: History) -> None:
    history.wrote(Write("a", "one", 500, 501, Outcome.REFUSED, "refused"))
    place = "service.updated", "e-900"
    history.heard(Signal("s", *place, "a", "refused", 900))


def plant_resurrection(history: History) -> None:
    write = registrations(history)[-1]
    times = write.service_id, "one", 500, 501
    history.wrote(Write(*times, Outcome.OK, None, 900))
    place = "service.unregistered", "e-900"
    history.heard(Signal("s", *place, write.service_id, None, 900))
    read = Read(write.service_id, "one", 502, 503, write.value, write.revision)
    history.reads.append(read)


def plant_duplicate_event(history: History) -> None:
    history.heard(changes(history)[5])


def plant_gap(history: History) -> None:
    acknowledged = {write.revision for write in history.writes}
    known = [s for s in changes(history) if s.revision in acknowledged]
    history.signals.remove(known[len(known) // 2])


def plant_disorder(history: History) -> None:
    first, second = changes(history)[3:5]
    place = history.signals.index(first)
    history.signals[place : place + 2] = [second, first]


def plant_other_epoch(history: History) -> None:
    place = "service.updated", "f-900"
    history.heard(replace(changes(history)[-1], kind=place[0], position=place[1]))


def plant_invention(history: History) -> None:
    history.reads.append(Read("a", "one", 500, 501, "nobody's", 900))


def plant_second_revision(history: History) -> None:
    write = registrations(history)[-1]
    place = write.service_id, "one", 500, 501, write.value, 900
    history.reads.append(Read(*place))


def plant_revisions_that_go_back(history: History) -> None:
    history.wrote(Write("c", "one", 500, 501, Outcome.OK, "c", 901))
    history.wrote(Write("d", "one", 502, 503, Outcome.OK, "d", 900))


def plant_old_view(history: History) -> None:
    times = "c", "two"
    history.wrote(Write("c", "one", 500, 501, Outcome.OK, "c1", 900))
    history.wrote(Write("c", "one", 502, 503, Outcome.OK, "c2", 901))
    # Another replica may be behind, but says of which view its reply is.
    history.reads.append(Read(*times, 504, 505, "c1", 900, 901))


def plant_disagreement(history: History) -> None:
    history.wrote(Write("c", "one", 500, 501, Outcome.OK, "c1", 900, None, True))


PLANTED = {
    "stale read": plant_stale_read,
    "lost write": plant_lost_write,
    "refused but present": plant_refused_but_present,
    "refused but present (event)": plant_refused_event,
    "resurrected": plant_resurrection,
    "duplicate event": plant_duplicate_event,
    "gap": plant_gap,
    "events out of order": plant_disorder,
    "another epoch without a resync": plant_other_epoch,
    "never written": plant_invention,
    "two revisions of one write": plant_second_revision,
    "revisions go back": plant_revisions_that_go_back,
    "older than its view": plant_old_view,
    "not linearizable": plant_disagreement,
}


@pytest.mark.parametrize("kind", PLANTED)
@settings(max_examples=25)
@given(seed=st.integers(0, 2**32))
def test_a_planted_violation_is_found(kind: str, seed: int) -> None:
    plant: Callable[[History], None] = PLANTED[kind]
    history = recorded(seed, 120)
    assert check(history) == []
    plant(history)
    assert kind.partition(" (")[0] in kinds(history)


def test_a_resync_makes_up_for_a_gap() -> None:
    history = recorded(7)
    cut = changes(history)[8]
    place = history.signals.index(cut)
    end = changes(history)[12]
    resync = Signal("s", "resync", end.position, revision=end.revision)
    history.signals[place : history.signals.index(end) + 1] = [
        Signal("s", "connected", end.position),
        resync,
    ]
    assert check(history) == []
    history.signals.remove(resync)
    assert kinds(history) == {"gap"}


def test_revisions_may_begin_again_in_another_epoch() -> None:
    history = History()
    for epoch, kind in (("e", "connected"), ("f", "resync")):
        history.heard(Signal("s", kind, f"{epoch}-0", fresh=kind == "connected"))
        for revision in (1, 2, 3):
            value, place = f"{epoch}{revision}", f"{epoch}-{revision}"
            history.wrote(Write("a", "one", 0, 1, Outcome.OK, value, revision))
            history.heard(Signal("s", "service.updated", place, "a", value, revision))
    assert check_streams(history) == []
    untold = history.signals.pop(-2)
    assert check_streams(history) == []  # nobody says of which epoch that write was
    history.heard(replace(untold, stream="t"))
    assert [violation.kind for violation in check_streams(history)] == ["gap"]


def test_a_stream_that_is_resumed_goes_on() -> None:
    history = recorded(7)
    signal = changes(history)[8]
    place = history.signals.index(signal)
    history.signals.insert(place, Signal("s", "connected", signal.position))
    assert check(history) == []
    history.signals.insert(place, history.signals[place - 1])
    assert kinds(history) == {"duplicate event"}


def test_several_changes_of_one_revision_are_told_apart() -> None:
    history = History()
    history.heard(Signal("s", "connected", "e-4", fresh=True))
    for number, place in enumerate(["e-5.1", "e-5.2", "e-5"]):
        service_id, value = f"id-{number}", f"v{number}"
        history.wrote(Write(service_id, "one", 0, 1, Outcome.OK, value, 5))
        history.heard(Signal("s", "service.registered", place, service_id, value, 5))
    assert check(history) == []
    history.signals[2:4] = reversed(history.signals[2:4])
    assert kinds(history) == {"events out of order"}


def test_lost_writes_are_counted() -> None:
    history = recorded(3)
    assert Outcome.OK in {write.outcome for write in lost_writes(history)}
    settle(history, "x", "kept", 1_000)
    settle(history, "y", "lost", 1_001)
    history.reads = [read for read in history.reads if read.value != "lost"]
    values = {write.value for write in lost_writes(history)}
    assert "lost" in values and "kept" not in values


def test_the_figures() -> None:
    history = History()
    times = [(0.0, 1.0), (1.0, 1.5), (2.0, 9.0), (9.0, 9.5)]
    outcomes = [Outcome.OK, Outcome.REFUSED, Outcome.UNKNOWN, Outcome.OK]
    for (begun, ended), outcome in zip(times, outcomes, strict=True):
        history.wrote(Write("a", "one", begun, ended, outcome, f"v{begun}"))
    history.read(0.0, 0.5, [])
    history.failed(1.0, 2.0, "500")
    history.read(3.0, 3.25, [])
    result = figures(history, [])
    assert (result.calls, result.acknowledged, result.refused) == (7, 2, 1)
    assert (result.unknown, result.failed_reads) == (1, 1)
    assert (result.without_write, result.without_read) == (8.5, 2.75)
    assert "8.50 s" in str(result)


def registrations(history: History) -> list[Write]:
    return [w for w in history.writes if w.outcome is Outcome.OK and w.value]


def changes(history: History) -> list[Signal]:
    return [s for s in history.signals if s.kind.startswith("service.")]


def settle(history: History, service_id: str, value: str, revision: int) -> None:
    """Write once more, and see it at the end."""
    times = service_id, "one", 500, 501
    history.wrote(Write(*times, Outcome.OK, value, revision))
    place = "service.updated", f"e-{revision}"
    history.heard(Signal("s", *place, service_id, value, revision))
    history.reads = [
        read
        for read in history.reads
        if not read.final or read.service_id != service_id
    ]
    read = Read(service_id, "one", 600, 601, value, revision, revision, True)
    history.reads.append(read)
