"""The server's own sockets: the one it listens on, and those of its callers.

Granian keeps each connection to itself: a WSGI call learns the caller's address but
neither its port nor its socket. What Linux tells of every socket of this process
(``/proc/self/fd``, ``TCP_INFO``) fills the gap; elsewhere nothing is found.
"""

import contextlib
import os
import resource
import socket
import struct
import time
from dataclasses import dataclass
from typing import Any

from modularity_registry.errors import BadSetting
from modularity_registry.network import listen_address

_FDS = "/proc/self/fd"
_TCP_INFO = getattr(socket, "TCP_INFO", None)
# linux/tcp.h, struct tcp_info: state; ms since the last data went out and came in;
# bytes received on this connection.
_INFO = struct.Struct("=B43xI4xI72xQ")
_CLOSED, _CLOSE_WAIT = 7, 8


@dataclass(frozen=True, slots=True)
class Connection:
    """A caller's connection as the kernel sees it; times are of `time.monotonic`.

    ``ended`` says that the caller sends no more: it closed its side or was lost.
    Of a lost connection the kernel forgets who it was: ``peer`` is empty then.
    """

    fd: int
    peer: str
    peer_port: int
    ended: bool
    received: int
    last_sent: float
    last_received: float

    @property
    def address(self) -> tuple[str, int]:
        return self.peer, self.peer_port


def listen(
    host: str, port: int, backlog: int, unread_seconds: float, count: int = 1
) -> list[socket.socket]:
    """Return ``count`` sockets that listen on ``host`` (name or address) and ``port``.

    A port that anyone else listens on is refused. Raises `BadSetting` with what to do
    when it can't be had. The kernel divides callers among the sockets; it closes a
    connection whose peer takes nothing off the line for ``unread_seconds``.
    """
    family, address = listen_address.address_of(host, port, socket.SOCK_STREAM)
    dualstack = host == "::" and socket.has_dualstack_ipv6()

    def create(address: tuple[Any, ...], shared: bool) -> socket.socket:
        try:
            listener = socket.create_server(
                address,
                family=family,
                backlog=backlog,
                reuse_port=shared,
                dualstack_ipv6=dualstack,
            )
        except (OSError, OverflowError, ValueError) as error:
            raise BadSetting(
                f"can't listen on {host} port {port}:"
                f" {listen_address.why_not(error, '--port')}"
            ) from error
        _watch_peers(listener, unread_seconds)
        return listener

    # Without SO_REUSEPORT, which would share the port with the process that has it.
    alone = create(address, shared=False)
    if count == 1:
        return [alone]
    found_address = alone.getsockname()
    alone.close()
    return [create(found_address, shared=True) for _ in range(count)]


def _watch_peers(listener: socket.socket, unread_seconds: float) -> None:
    # Accepted connections inherit these: a peer that vanished without a word or never
    # reads its answer must not hold its connection for ever.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for name, value in (
        ("TCP_USER_TIMEOUT", int(unread_seconds * 1000)),
        ("TCP_KEEPIDLE", int(unread_seconds)),
        ("TCP_KEEPINTVL", 10),
        ("TCP_KEEPCNT", 3),
    ):
        option = getattr(socket, name, None)
        if option is not None:
            listener.setsockopt(socket.IPPROTO_TCP, option, value)


def raise_descriptor_limit(wanted: int) -> int:
    """Let this process open ``wanted`` files if the hard limit allows it.

    Returns how many it may open now.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    target = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < target:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if soft == resource.RLIM_INFINITY else soft


def can_tell() -> bool:
    """Say whether this system lets a process look at its own connections."""
    return _TCP_INFO is not None and os.path.isdir(_FDS)


def connections(port: int) -> list[Connection]:
    """Every connection of this process to its own ``port``, in no order.

    Empty where the system has no ``/proc`` and no ``TCP_INFO``. Costs 5 us for each
    open file, so it is for what goes wrong, never for every call.
    """
    if _TCP_INFO is None:
        return []
    try:
        names = os.listdir(_FDS)
    except OSError:
        return []
    found = (_inspect(int(name), port) for name in names)
    return [connection for connection in found if connection is not None]


def _inspect(fd: int, port: int) -> Connection | None:
    try:
        # A family given saves asking for it; IPv6 leaves room for either's addresses.
        sock = socket.socket(socket.AF_INET6, socket.SOCK_STREAM, 0, fileno=fd)
    except OSError:
        return None  # no socket
    try:
        own = sock.getsockname()
        # Sockets of other kinds are named by a string, or by numbers of their own.
        return _describe(fd, sock) if own[1:2] == (port,) else None
    except OSError:
        return None  # not TCP, or closed meanwhile
    finally:
        sock.detach()


def _describe(fd: int, sock: socket.socket) -> Connection:
    raw = sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO or 0, _INFO.size)
    now = time.monotonic()
    state, sent, came, received = _INFO.unpack(raw)
    peer, peer_port = ("", 0) if state == _CLOSED else sock.getpeername()[:2]
    return Connection(
        fd=fd,
        peer=peer.partition("%")[0],
        peer_port=peer_port,
        ended=state in (_CLOSED, _CLOSE_WAIT),
        received=received,
        last_sent=now - sent / 1000,
        last_received=now - came / 1000,
    )


def stop_reading(connection: Connection) -> None:
    """End what comes in on ``connection``; an answer can still go out on it."""
    with contextlib.suppress(OSError):
        # The copy pins the connection: its descriptor may be another one's by now.
        copy = socket.socket(fileno=os.dup(connection.fd))
        with copy:
            peer, peer_port = copy.getpeername()[:2]
            if (peer.partition("%")[0], peer_port) == connection.address:
                copy.shutdown(socket.SHUT_RD)
