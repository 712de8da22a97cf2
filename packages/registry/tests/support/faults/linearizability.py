"""Searches an order of one service's writes and reads that explains all replies.

The search is Wing and Gong's ("Testing and verifying concurrent objects", 1993) with
Lowe's memory of what was tried ("Testing for linearizability", 2017), over a register
that holds a registration or nothing. Three things keep it short: a read that fits is
taken at once, since it changes nothing; writes are tried in the order of their
revisions; and of writes with an unknown outcome, only one that makes a difference is
tried.

Writes take effect between their call and their reply, whichever replica took them. A
read does so beside the calls of its own replica, since another one may be behind; a
final read comes after everything. With one replica this is linearizability, with
several it is sequential consistency of each one's reads over linearizable writes.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from support.faults.history import SOMETHING, Outcome, Read, Write

LARGEST_SEARCH: Final = 200_000
"""Steps of a search; it takes about as many as there are calls if all is well."""


class TooLong(Exception):
    """The search was given up."""


class Register(NamedTuple):
    """What a service is: its registration, or None, and the last revision if known."""

    value: str | None
    revision: int | None


@dataclass(frozen=True, slots=True)
class _Call:
    """A call that has taken effect by ``ends``; ``idle`` if nobody saw its effect."""

    call: Write | Read
    ends: float
    idle: bool = False

    @property
    def order(self) -> tuple[float, float]:
        revision = self.call.revision
        return (math.inf if revision is None else revision, self.call.begun)


def unexplained(writes: Sequence[Write], reads: Sequence[Read]) -> Write | Read | None:
    """Return None if some order explains all, else the first call that none does.

    All are of one service, which was not registered before. Raises `TooLong`.
    """
    return _Search(writes, reads).run()


class _Search:
    def __init__(self, writes: Sequence[Write], reads: Sequence[Read]) -> None:
        seen = {read.value: read.revision for read in reads if read.value is not None}
        calls = [
            _written(write, seen)
            for write in writes
            if write.outcome is not Outcome.REFUSED
        ]
        calls += [_Call(read, read.ended) for read in reads]
        self._calls = sorted(calls, key=lambda each: each.call.begun)
        self._must = sum(1 << n for n, c in enumerate(self._calls) if c.ends < math.inf)
        self._readers = {read.replica for read in reads if not read.final}
        self._furthest = 0

    def run(self) -> Write | Read | None:
        steps = 0
        start = self._read_all(0, 0, Register(None, None))
        stack, tried = [start], {start}
        while stack:
            done, first, register = stack.pop()
            steps += 1
            if steps > LARGEST_SEARCH:
                raise TooLong
            if done & self._must == self._must:
                return None
            self._furthest = max(self._furthest, done, key=self._count)
            # The last one pushed is tried first.
            for number in reversed(self._choices(done, first, register)):
                call = self._calls[number].call
                assert isinstance(call, Write)
                state = self._read_all(done | 1 << number, first, after(register, call))
                if state not in tried:
                    tried.add(state)
                    stack.append(state)
        missing = (
            n
            for n in range(len(self._calls))
            if self._must >> n & 1 and not self._furthest >> n & 1
        )
        return self._calls[min(missing, key=lambda n: self._calls[n].ends)].call

    def _count(self, done: int) -> int:
        return (done & self._must).bit_count()

    def _read_all(
        self, done: int, first: int, register: Register
    ) -> tuple[int, int, Register]:
        """Take all reads that fit, until none does."""
        while True:
            while done >> first & 1:
                first += 1
            fitting = 0
            for number in self._possible(done, first):
                call = self._calls[number].call
                if isinstance(call, Read) and shows(register, call):
                    fitting |= 1 << number
            if not fitting:
                return done, first, register
            done |= fitting

    def _choices(self, done: int, first: int, register: Register) -> list[int]:
        """The writes that may be next, in the order in which to try them."""
        writes: list[int] = []
        idle: set[bool] = set()
        for number in self._possible(done, first):
            entry = self._calls[number]
            call = entry.call
            if not isinstance(call, Write) or not fits(register, call):
                continue
            if entry.idle:
                # Of all that register, or that end it, any one will do.
                adds = call.value is not None
                if adds is (register.value is not None) or adds in idle:
                    continue
                if call.expected is None:
                    idle.add(adds)
            writes.append(number)
        return sorted(writes, key=lambda number: self._calls[number].order)

    def _possible(self, done: int, first: int) -> list[int]:
        """The calls before which no other has to come."""
        possible: list[int] = []
        earliest = math.inf
        own = dict.fromkeys(self._readers, math.inf)
        for number in range(first, len(self._calls)):
            if done >> number & 1:
                continue
            entry = self._calls[number]
            call = entry.call
            if call.begun > max((earliest, *own.values())):
                break
            whole = isinstance(call, Write) or call.final
            if call.begun <= (earliest if whole else own[call.replica]):
                possible.append(number)
            earliest = min(earliest, entry.ends)
            if call.replica in own:
                own[call.replica] = min(own[call.replica], entry.ends)
        return possible


def _written(write: Write, seen: Mapping[str, int | None]) -> _Call:
    """Return a write with its revision, even if only a reader was told of it."""
    revision = write.revision or seen.get(write.value or "")
    if write.outcome is Outcome.OK:
        return _Call(replace(write, revision=revision), write.ended)
    idle = write.value not in seen
    return _Call(replace(write, revision=revision), math.inf, idle)


def shows(register: Register, read: Read) -> bool:
    """Say whether a read may be of this register."""
    if read.value == SOMETHING:
        return register.value is not None
    known = None not in (read.revision, register.revision)
    same = not known or read.revision == register.revision
    return read.value == register.value and (read.value is None or same)


def fits(register: Register, write: Write) -> bool:
    """Say whether a write can follow, by what it asked for and what it was told."""
    present = register.value is not None
    if write.value is None and not present and write.outcome is Outcome.OK:
        return False
    if write.existed not in (None, present):
        return False
    if write.expected == 0 and present:
        return False
    if write.expected and (
        not present or register.revision not in (None, write.expected)
    ):
        return False
    known = write.revision is not None and register.revision is not None
    return not known or (write.revision or 0) > (register.revision or 0)


def after(register: Register, write: Write) -> Register:
    """Return the register after a write that fits."""
    return Register(write.value, write.revision)
