"""Callers by the thousand who take their time: to speak, or to listen.

As a program it takes orders on stdin and answers on stdout, a line of JSON each:
``{"port": 5000, "counts": {"silent": 1000}, "seconds": 10}`` opens a crowd, answers
once all are connected, and again after that time with what became of them.
"""

import asyncio
import contextlib
import json
import random
import socket
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

FROM = "127.0.0.66"
"""The crowd's address on loopback. The client that is measured has another one."""

_HEAD = b"GET /health HTTP/1.1\r\nHost: a\r\nX-Slow: "
_BODY = b"POST /api/register HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
_LIST = b"GET /api/services HTTP/1.1\r\nHost: a\r\n\r\n"
_BEAT = 1.0
_AT_ONCE = 200  # connections that are being opened


@dataclass(frozen=True, slots=True)
class _Manner:
    """What one says first, what in every second, and how many bytes it reads in one."""

    first: bytes
    then: bytes = b""
    reads: int = 65_536


MANNERS = {
    "silent": _Manner(b""),
    "dripping": _Manner(_HEAD, b"x"),
    "uploading": _Manner(_BODY + b"Content-Length: 100000\r\n\r\n{", b" "),
    "chunking": _Manner(_BODY + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "reading": _Manner(_LIST, reads=1_000),
}


class Crowd:
    """Connections that are opened again whenever they are closed."""

    def __init__(self, port: int, counts: Mapping[str, int]) -> None:
        self._port = port
        self._kinds = [kind for kind, count in counts.items() for _ in range(count)]
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self.open: Counter[str] = Counter()
        self.openings: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()

    async def run(self, seconds: float, assembled: asyncio.Event) -> None:
        """Go on for so long, from when all were connected for the first time."""
        members = [asyncio.create_task(self._member(kind)) for kind in self._kinds]
        try:
            while sum(self.openings.values()) < len(members):
                await asyncio.sleep(0.05)
            assembled.set()
            await asyncio.sleep(seconds)
        finally:
            for member in members:
                member.cancel()
            await asyncio.gather(*members, return_exceptions=True)

    async def _member(self, kind: str) -> None:
        manner = MANNERS[kind]
        while True:
            with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
                async with self._gate:
                    reader, writer = await self._connect(manner)
                    stack.callback(writer.transport.abort)
                    writer.write(manner.first)
                    if kind == "reading":  # what made the reply is over by then
                        await reader.read(manner.reads)
                self.openings[kind] += 1
                self.open[kind] += 1
                try:
                    await self._linger(manner, reader, writer)
                finally:
                    self.open[kind] -= 1
            # Not all at the same moment, or it would be their coming that is measured.
            await asyncio.sleep(random.uniform(0.1, 1.0))

    async def _connect(
        self, manner: _Manner
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        sock = socket.socket()
        sock.setblocking(False)
        if manner.reads < 65_536:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        try:
            sock.bind((FROM, 0))
            loop = asyncio.get_running_loop()
            await loop.sock_connect(sock, ("127.0.0.1", self._port))
        except BaseException:
            sock.close()
            raise
        return await asyncio.open_connection(sock=sock, limit=2_048)

    async def _linger(
        self,
        manner: _Manner,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        while True:
            beat = asyncio.get_running_loop().time() + _BEAT
            with contextlib.suppress(TimeoutError):
                got = await asyncio.wait_for(reader.read(manner.reads), _BEAT)
                if got.startswith(b"HTTP/1.1 "):
                    self.statuses[got[9:12].decode()] += 1
                if not got:
                    return
                if manner.then:
                    return  # it was answered, if only to refuse it
            await asyncio.sleep(max(0.0, beat - asyncio.get_running_loop().time()))
            writer.write(manner.then)


async def _carry_out(order: Mapping[str, object]) -> None:
    port, counts, seconds = order["port"], order["counts"], order["seconds"]
    assert isinstance(port, int) and isinstance(seconds, int | float)
    assert isinstance(counts, dict)
    crowd, assembled = Crowd(port, counts), asyncio.Event()
    running = asyncio.create_task(crowd.run(seconds, assembled))
    waiting = asyncio.create_task(assembled.wait())
    await asyncio.wait((running, waiting), return_when=asyncio.FIRST_COMPLETED)
    _say({"open": dict(crowd.open)})
    await running
    _say({"openings": dict(crowd.openings), "statuses": dict(crowd.statuses)})


def _say(found: Mapping[str, object]) -> None:
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    for line in sys.stdin:
        asyncio.run(_carry_out(json.loads(line)))
