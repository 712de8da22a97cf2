"""The TCP check: a connection can be made."""

import asyncio
import errno
import socket


async def check_tcp(address: str, port: int) -> None:
    """Connect to a literal address and close at once; raises OSError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (address, port))
        # A free local port in the ephemeral range may be given to this very socket:
        # TCP then connects it to itself (RFC 9293, simultaneous open).
        if sock.getsockname() == sock.getpeername():
            raise ConnectionRefusedError(errno.ECONNREFUSED, "connected to itself")
