"""HAProxy's runtime API: one command a connection, over its socket.

https://docs.haproxy.org/2.6/management.html#9.3
"""

import asyncio
from pathlib import Path
from typing import Final

from modularity_registry.cli.proxies.haproxy_slots import Command, Slot, State

SECONDS: Final = 5.0
"""Within which HAProxy has to answer a command."""

MOST_BYTES: Final = 16 * 1024 * 1024
"""Of an answer: a server takes some 150."""

CHUNK: Final = 65_536

MAINT, DRAIN = 0x01, 0x08
"""The bits of `srv_admin_state` that a command has set."""


class HAProxyError(Exception):
    """HAProxy can't be reached, or does not take a command; the text says why."""


class HAProxySocket:
    """The socket of a HAProxy, which may restart at any time."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def send(self, command: str) -> str:
        """Send a command; return the answer. Raises `HAProxyError`."""
        try:
            async with asyncio.timeout(SECONDS):
                reader, writer = await asyncio.open_unix_connection(self.path)
                try:
                    writer.write(f"{command}\n".encode())
                    await writer.drain()
                    answer = await self._answer(reader)
                finally:
                    writer.close()
        except TimeoutError:
            raise HAProxyError(f"{self.path}: no answer in {SECONDS:g} s") from None
        except OSError as error:
            reason = error.strerror or str(error)
            raise HAProxyError(f"{self.path}: {reason}") from None
        return answer.decode(errors="replace").strip()

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        answer = bytearray()
        while part := await reader.read(CHUNK):
            answer += part
            if len(answer) > MOST_BYTES:
                raise HAProxyError(f"{self.path}: the answer is over {MOST_BYTES:,} B")
        return bytes(answer)

    async def slots(self, backend: str, prefix: str) -> list[Slot]:
        """Return the servers of a backend whose names begin with ``prefix``, in order.

        Raises `HAProxyError`.
        """
        answer = await self.send(f"show servers state {backend}")
        lines = answer.splitlines()
        if len(lines) < 2 or not lines[1].startswith("# "):
            reason = answer.rstrip(".") or "it has no server"
            raise HAProxyError(f"{self.path}: backend {backend}: {reason}")
        names = lines[1].removeprefix("# ").split()
        rows = [dict(zip(names, line.split(), strict=False)) for line in lines[2:]]
        return [_slot(row) for row in rows if row["srv_name"].startswith(prefix)]

    async def apply(self, backend: str, commands: list[Command]) -> list[str]:
        """Send commands for servers of a backend; return what it says to bad ones.

        Raises `HAProxyError` if it can't be reached.
        """
        refusals = []
        for server, change in commands:
            command = f"set server {backend}/{server} {change}"
            answer = await self.send(command)
            # The text of a success differs among releases; these are its failures.
            if answer.startswith(_REFUSALS):
                refusals.append(f"{self.path}: {command}: {answer}")
        return refusals


_REFUSALS: Final = (
    "Permission denied",
    "No such",
    "Require",
    "Unknown",
    "Invalid",
    "Absolute weight",
    "Backend is using",
    "'set server",
    "Please specify",
)


def _slot(row: dict[str, str]) -> Slot:
    admin = int(row["srv_admin_state"])
    state: State = "maint" if admin & MAINT else "drain" if admin & DRAIN else "ready"
    place = row["srv_addr"], int(row["srv_port"])
    return Slot(row["srv_name"], *place, int(row["srv_uweight"]), state)
