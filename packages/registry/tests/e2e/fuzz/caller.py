"""Sends what was made up on many connections at once, and notes what came back.

A call that is framed as HTTP has it gets its reply within a second, on a connection
that is kept and with others right behind it. What is broken is sent and then ended
(the sending side is closed), which makes it as complete as it will ever be: within a
second it is answered or cut.
"""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from e2e.fuzz.broken import broken
from e2e.fuzz.changes import brief, changed, framed
from e2e.fuzz.replies import Malformed, Reply, fault, read_reply, split
from e2e.fuzz.request import Asked

HOST = "127.0.0.1"
PROMPT = 1.0
"""Seconds within which all is answered or cut."""

_PATIENCE = 20.0
_CONNECTIONS = 12
_SHOWN = 300
_STREAM = b"\r\ncontent-type: text/event-stream"
_BROKEN = 0.45  # of the exchanges
_SPOILED_CALLS = 0.8  # of the others' calls; the rest is as the document has it


@dataclass(frozen=True, slots=True)
class Exchange:
    """What is sent at once. ``methods`` are its calls; none for what is broken."""

    raw: bytes
    methods: tuple[bytes, ...] = ()


@dataclass(slots=True)
class Findings:
    """What came of it. ``calls`` counts replies and connections cut instead of one."""

    calls: int = 0
    cut: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    slowest: float = 0.0
    late: list[tuple[float, Exchange]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def blame(self, what: str, exchange: Exchange) -> None:
        self.faults.append(f"{what}: {exchange.raw[:_SHOWN]!r}")


def exchanges(seeds: Sequence[Asked], rng: random.Random) -> Iterator[Exchange]:
    """Yield exchanges without end, the same ones for the same seed."""
    calls = [each for each in seeds if not each.streams]
    while True:
        if rng.random() < _BROKEN:
            seed = rng.choice(seeds)
            yield Exchange(broken(seed, rng))
        else:
            some = [_one(calls, rng) for _ in range(rng.randint(1, 6))]
            raw = b"".join(map(framed, some))
            yield Exchange(raw, tuple(each.method for each in some))


def _one(calls: Sequence[Asked], rng: random.Random) -> Asked:
    while True:
        asked = rng.choice(calls)
        if rng.random() < _SPOILED_CALLS:
            asked = changed(asked, rng)
        if not asked.streams:
            return asked


class Caller:
    """Calls one registry on loopback."""

    def __init__(self, port: int, connections: int = _CONNECTIONS) -> None:
        self._port = port
        self._connections = connections
        self.findings = Findings()

    def send(self, source: Iterator[Exchange], calls: int) -> Findings:
        """Send until so many more calls are through; return all findings so far."""
        asyncio.run(self._send(source, self.findings.calls + calls))
        return self.findings

    def repeat_late(self) -> list[str]:
        """Send what was late again, alone; return what is late again.

        On a busy machine anything may be late once.
        """
        again = Caller(self._port, 1)
        late = self.findings.late
        for _, exchange in late:
            again.send(iter([exchange]), 1)
        return [
            f"{seconds:.1f} s: {exchange.raw[:_SHOWN]!r}"
            for seconds, exchange in again.findings.late
        ]

    async def _send(self, source: Iterator[Exchange], target: int) -> None:
        lines = [
            _Line(self._port, self.findings).work(source, target)
            for _ in range(self._connections)
        ]
        await asyncio.gather(*lines)


class _Line:
    """One connection at a time, opened again when it was cut."""

    def __init__(self, port: int, findings: Findings) -> None:
        self._port = port
        self._findings = findings
        self._pair: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def work(self, source: Iterator[Exchange], target: int) -> None:
        for exchange in source:
            began = time.monotonic()
            try:
                async with asyncio.timeout(_PATIENCE):
                    await self._exchange(exchange)
            except TimeoutError:
                self._findings.blame(f"nothing in {_PATIENCE:g} s", exchange)
                self._close()
            except (Malformed, ValueError, asyncio.IncompleteReadError) as error:
                self._findings.blame(f"{type(error).__name__} {error}", exchange)
                self._close()
            took = time.monotonic() - began
            self._findings.slowest = max(self._findings.slowest, took)
            if took > PROMPT:
                self._findings.late.append((took, exchange))
            if self._findings.calls >= target:
                break
        self._close()

    async def _exchange(self, exchange: Exchange) -> None:
        if exchange.methods:
            await self._calls(exchange)
        else:
            await self._broken(exchange)

    async def _calls(self, exchange: Exchange) -> None:
        fresh = self._pair is None
        reader, writer = self._pair or await self._open()
        writer.write(exchange.raw)
        last: Reply | None = None
        for method in exchange.methods:
            try:
                reply = await read_reply(reader, method)
            except ConnectionError:
                reply = None
            if reply is None:
                self._close()
                # A kept one may end before anything of this has arrived.
                early = fresh if last is None else not last.may_close
                self._findings.cut += early
                self._findings.calls += 1
                return
            self._note(reply, exchange)
            last = reply

    async def _broken(self, exchange: Exchange) -> None:
        self._close()
        reader, writer = await self._open()
        writer.write(exchange.raw)
        parts = []
        try:
            with contextlib.suppress(OSError, RuntimeError):  # it was cut before
                writer.write_eof()
            while part := await reader.read(65_536):
                parts.append(part)
                if _STREAM in part.lower():  # answered, and it may go on for ever
                    break
        except ConnectionError:
            pass  # cut, with what may still come lost
        self._close()
        replies = split(b"".join(parts))
        for reply in replies:
            self._note(reply, exchange)
        if not replies:
            self._findings.cut += 1
            self._findings.calls += 1

    def _note(self, reply: Reply, exchange: Exchange) -> None:
        self._findings.calls += 1
        self._findings.statuses[reply.status] += 1
        wrong = fault(reply)
        if wrong is not None:
            self._findings.blame(wrong, exchange)

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self._pair = await asyncio.open_connection(HOST, self._port, limit=1 << 21)
        return self._pair

    def _close(self) -> None:
        if self._pair is not None:
            self._pair[1].close()
            self._pair = None


def seeds_of(made: Sequence[Asked], rng: random.Random) -> list[Asked]:
    """Return the requests made from the document, none with a long wait."""
    return [
        Asked(each.method, brief(each.target, rng), each.headers, each.body)
        for each in made
    ]
