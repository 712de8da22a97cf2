"""Judges a history: what a client saw must be what the registry promises.

What it promises is in docs/stores.md, docs/replicas.md and docs/watching.md.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from typing import NamedTuple

from support.faults.history import SOMETHING, History, Outcome, Read, Signal, Write
from support.faults.linearizability import TooLong, unexplained
from support.faults.streams import check_streams
from support.faults.violation import Violation

ByService = dict[str, tuple[list[Write], list[Read]]]


def check(history: History, streams: bool = True) -> list[Violation]:
    """Return what is wrong with a history, the plainest first; nothing if it is right.

    Without ``streams`` the events are only held to what was written, not to their
    order: the readers may not have been told of everything by the end.
    """
    found = [*_invented(history), *_revisions_go_back(history)]
    for writes, reads in _by_service(history).values():
        plain = [*_older_than_promised(writes, reads), *_lost(writes, reads)]
        found += plain or _no_order(writes, reads)
    if streams:
        found += check_streams(history)
    return found


def _by_service(history: History) -> ByService:
    services: ByService = defaultdict(lambda: ([], []))
    for write in history.writes:
        services[write.service_id][0].append(write)
    for read in history.reads:
        services[read.service_id][1].append(read)
    return services


class _Seen(NamedTuple):
    """That somebody saw a registration, in a reply or an event."""

    service_id: str
    value: str
    revision: int | None
    where: str


def _sightings(history: History) -> Iterator[_Seen]:
    for read in history.reads:
        if read.value not in (None, SOMETHING):
            yield _Seen(read.service_id, read.value or "", read.revision, str(read))
    for signal in history.signals:
        if signal.value is not None:
            revision = signal.revision
            yield _Seen(signal.service_id, signal.value, revision, str(signal))


def _invented(history: History) -> Iterator[Violation]:
    """Whatever is seen was written, and not refused, with one revision."""
    written = {(write.service_id, write.value): write for write in history.writes}
    revisions: dict[tuple[str, str], int] = {}
    for seen in _sightings(history):
        key = seen.service_id, seen.value
        write = written.get(key)
        if write is None:
            yield Violation("never written", seen.where)
        elif write.outcome is Outcome.REFUSED:
            yield Violation("refused but present", seen.where, str(write))
        elif seen.revision is not None:
            known = write.revision or revisions.setdefault(key, seen.revision)
            if known != seen.revision:
                text = f"revision {known} and revision {seen.revision}"
                yield Violation("two revisions of one write", seen.where, text)


def _revisions_go_back(history: History) -> Iterator[Violation]:
    """A write that begins after another one has ended has a larger revision."""
    done = [w for w in history.writes if w.outcome is Outcome.OK and w.revision]
    begun = sorted(done, key=attrgetter("begun"))
    ended = sorted(done, key=attrgetter("ended"))
    latest: Write | None = None
    position = 0
    for write in begun:
        while position < len(ended) and ended[position].ended < write.begun:
            before = ended[position]
            if latest is None or (before.revision or 0) > (latest.revision or 0):
                latest = before
            position += 1
        if latest is not None and (write.revision or 0) <= (latest.revision or 0):
            yield Violation("revisions go back", str(write), str(latest))


def _older_than_promised(
    writes: Sequence[Write], reads: Sequence[Read]
) -> Iterator[Violation]:
    """A read is as new as what its replica acknowledged, or showed, before it began.

    And as the revision that it says it is of.
    """
    for replica in {read.replica for read in reads}:
        own = [read for read in reads if read.replica == replica]
        promises = _Promises(
            [w for w in writes if own[0].final or w.replica == replica], own
        )
        for read in own:
            promise = promises.before(read.begun)
            if promise and read.revision and read.revision < (promise.revision or 0):
                ended = isinstance(promise, Write) and promise.value is None
                kind = "resurrected" if ended else "stale read"
                yield Violation(kind, str(read), str(promise))
    acknowledged = _Promises(writes, ())
    for read in reads:
        if read.view is not None and read.revision is not None:
            write = acknowledged.up_to(read.view)
            if write is not None and read.revision < (write.revision or 0):
                yield Violation("older than its view", str(read), str(write))


class _Promises:
    """What was acknowledged or shown of a service, by the time when that ended."""

    def __init__(self, writes: Iterable[Write], reads: Iterable[Read]) -> None:
        calls: list[Write | Read] = [
            write for write in writes if write.outcome is Outcome.OK and write.revision
        ]
        self._writes = sorted(calls, key=attrgetter("revision"))
        self._revisions = [write.revision or 0 for write in self._writes]
        calls += [read for read in reads if read.revision]
        calls.sort(key=attrgetter("ended"))
        self._ends = [call.ended for call in calls]
        self._newest: list[Write | Read] = []
        for call in calls:
            newest = self._newest[-1] if self._newest else call
            newer = (call.revision or 0) > (newest.revision or 0)
            self._newest.append(call if newer else newest)

    def before(self, begun: float) -> Write | Read | None:
        """Return the newest that had ended before a call began."""
        count = bisect_right(self._ends, begun)
        return self._newest[count - 1] if count else None

    def up_to(self, revision: int) -> Write | Read | None:
        """Return the newest write with a revision up to this one."""
        count = bisect_right(self._revisions, revision)
        return self._writes[count - 1] if count else None


def _lost(writes: Sequence[Write], reads: Sequence[Read]) -> Iterator[Violation]:
    """At the end, the newest acknowledged write is there, or one that may follow it."""
    done = [w for w in writes if w.outcome is Outcome.OK and w.revision]
    if not done:
        return
    newest = max(done, key=lambda write: write.revision or 0)
    ending = any(w.value is None and w.outcome is Outcome.UNKNOWN for w in writes)
    for read in reads:
        if read.final and read.value is None and newest.value is not None:
            if not ending:
                yield Violation("lost write", str(newest), str(read))
        elif read.final and read.revision and read.revision < (newest.revision or 0):
            yield Violation("lost write", str(newest), str(read))


def _no_order(writes: Sequence[Write], reads: Sequence[Read]) -> Iterator[Violation]:
    try:
        call = unexplained(writes, reads)
    except TooLong:
        service_id = writes[0].service_id
        yield Violation("undecided", f"the search for {service_id!r} was given up")
        return
    if call is not None:
        yield Violation("not linearizable", str(call))


def lost_writes(history: History) -> list[Write]:
    """Return the acknowledged registrations that the final reads do not show.

    For services that are registered once, and never change.
    """
    present = {read.value for read in history.reads if read.final}
    return [
        write
        for write in history.writes
        if write.outcome is Outcome.OK and write.value not in present
    ]


__all__ = ["Signal", "Violation", "check", "lost_writes"]
