"""Answers health checks at many addresses of loopback: ``python providers.py PORT``.

It reads commands on stdin, a JSON object a line, and answers each: ``{"do": "open",
"first": 1, "last": 200}`` listens at 127.0.0.1 to 127.0.0.200, ``{"do": "close"}``
with the same fields refuses all connections there.
"""

import asyncio
import json
import sys

BODY = b'{"status":"healthy"}'
REPLY = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
) % len(BODY) + BODY


class Provider(asyncio.Protocol):
    """Answers each request on a connection; checks send small ones, in one piece."""

    def __init__(self, open_ones: set[asyncio.Transport]) -> None:
        self._open = open_ones

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._open.add(transport)

    def connection_lost(self, _error: Exception | None) -> None:
        self._open.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._transport.write(REPLY * data.count(b"\r\n\r\n"))


class Providers:
    """The servers by the last byte of their address, and their connections."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._running: dict[int, tuple[asyncio.Server, set[asyncio.Transport]]] = {}

    async def open(self, number: int) -> None:
        """Listen at an address."""
        transports: set[asyncio.Transport] = set()
        server = await asyncio.get_running_loop().create_server(
            lambda: Provider(transports), f"127.0.0.{number}", self._port, backlog=2048
        )
        self._running[number] = server, transports

    async def close(self, number: int) -> None:
        """End an address: what is connected there is cut off."""
        server, transports = self._running.pop(number)
        server.close()
        for transport in list(transports):
            transport.abort()


async def main() -> None:
    """Serve until stdin ends."""
    providers = Providers(int(sys.argv[1]))
    loop = asyncio.get_running_loop()
    print(json.dumps({}), flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        command = json.loads(line)
        do = providers.open if command["do"] == "open" else providers.close
        for number in range(command["first"], command["last"] + 1):
            await do(number)
        print(json.dumps({}), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
