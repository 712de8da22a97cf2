"""Judges streams of events: in order, each once, without a gap but for a `resync`."""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from operator import attrgetter

from support.faults.history import History, Outcome, Signal, Write
from support.faults.violation import Violation

SERVICE_EVENTS = "service."
"""How the kinds of events begin that tell of a change of a service."""


def check_streams(history: History) -> list[Violation]:
    """Return what is wrong with the streams of a history.

    Each is held to the acknowledged writes between where it began, or last resynced,
    and the last revision that it told of. Another epoch counts from 1 again, so a
    stream is held to those of its own, as far as any stream says which they are.
    """
    streams: dict[str, list[Signal]] = defaultdict(list)
    for signal in history.signals:
        streams[signal.stream].append(signal)
    writes = sorted(
        (w for w in history.writes if w.outcome is Outcome.OK and w.revision),
        key=attrgetter("revision"),
    )
    epochs = {signal.epoch for signal in history.signals}
    told = {_change(signal): signal.epoch for signal in history.signals}
    found: list[Violation] = []
    for signals in streams.values():
        for stretch in _stretches(signals):
            epoch = stretch[0].epoch
            unknown = epoch if epochs == {epoch} else None
            own = [w for w in writes if told.get(_change(w), unknown) == epoch]
            found += _disorder(stretch)
            found += _gaps(stretch, own)
    return found


def _change(told: Signal | Write) -> tuple[int | None, str, str | None]:
    return told.revision, told.service_id, told.value


def _stretches(signals: Sequence[Signal]) -> Iterator[list[Signal]]:
    """Split a stream where it says that events may be missing; each part begins so."""
    stretch: list[Signal] = []
    for signal in signals:
        if signal.kind == "resync" or signal.fresh:
            if stretch:
                yield stretch
            stretch = [signal]
        elif signal.kind != "connected":
            stretch.append(signal)
    if stretch:
        yield stretch


def _disorder(stretch: Sequence[Signal]) -> Iterator[Violation]:
    told = {stretch[0].position}
    newest = stretch[0]
    for signal in stretch[1:]:
        if signal.position in told:
            yield Violation("duplicate event", str(signal))
        elif signal.epoch != newest.epoch:
            yield Violation("another epoch without a resync", str(signal), str(newest))
        elif signal.place <= newest.place:
            yield Violation("events out of order", str(signal), str(newest))
        elif signal.place[0] != signal.revision:
            yield Violation("two revisions of one event", str(signal))
        told.add(signal.position)
        newest = max(newest, signal, key=attrgetter("place"))


def _gaps(stretch: Sequence[Signal], writes: Sequence[Write]) -> Iterator[Violation]:
    """Look for the event of each write; of the last revision, some may still come."""
    told = {_change(signal) for signal in stretch}
    begin, end = stretch[0].place[0], max(s.place for s in stretch)[0]
    revisions = [write.revision or 0 for write in writes]
    first, behind = bisect_right(revisions, begin), bisect_left(revisions, end)
    for write in writes[first:behind]:
        if _change(write) not in told:
            text = f"not told of after {stretch[0].position}"
            yield Violation("gap", str(write), text)
