"""The sockets that the server listens on."""

import socket
from typing import Any

from modularity_registry.errors import BadSetting
from modularity_registry.network import listen_address


def listen(
    host: str, port: int, backlog: int, unread_seconds: float, workers: int = 1
) -> list[socket.socket]:
    """Return a socket for each worker that listens on ``host`` and ``port``.

    ``host`` is a name or an address. A port that anyone else listens on is refused.
    Raises `BadSetting` with what to do when it can't be had. The kernel divides callers
    among the sockets; it closes a connection whose peer takes nothing off the line for
    ``unread_seconds``.
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
        # Of a duplicate, too: else each would make all others block.
        listener.setblocking(False)
        _watch_peers(listener, unread_seconds)
        return listener

    # Without SO_REUSEPORT, which would share the port with the process that has it.
    alone = create(address, shared=False)
    if workers == 1:
        return [alone]
    bound = alone.getsockname()
    alone.close()
    return [create(bound, shared=True) for _ in range(workers)]


def url(listener: socket.socket, tls: bool) -> str:
    """Return where ``listener`` is reached, as a URL."""
    host, port = listener.getsockname()[:2]
    return (
        f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"
    )


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
