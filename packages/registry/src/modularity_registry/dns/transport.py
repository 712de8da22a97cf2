"""The zone's sockets: UDP and TCP on the same port, shared with no other program."""

import socket
import struct
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final

from modularity_registry.errors import BadSetting
from modularity_registry.model.location import Address
from modularity_registry.network import listen_address

_BACKLOG: Final = 128
# Answers to a burst of queries, while the process is at something else.
_RECEIVE_BUFFER: Final = 1 << 20
# linux/in.h; Python has no name for it before 3.14.
_IP_PKTINFO: Final = getattr(socket, "IP_PKTINFO", 8)
_IPV4_INFO: Final = struct.Struct("=I4s4s")
_ANCILLARY: Final = socket.CMSG_SPACE(32)

Ancillary = list[tuple[int, int, bytes]]


@dataclass(frozen=True, slots=True)
class Sockets:
    """Both, bound and not blocking. Forked processes may share them.

    ``wildcard`` says that they take what comes to any address of this machine.
    """

    udp: socket.socket
    tcp: socket.socket
    wildcard: bool

    @property
    def port(self) -> int:
        """The port of both."""
        port: int = self.udp.getsockname()[1]
        return port

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Where they listen; empty if at all addresses."""
        if self.wildcard:
            return ()
        return (ip_address(self.udp.getsockname()[0].partition("%")[0]),)

    def close(self) -> None:
        """Close both in this process. Idempotent."""
        self.udp.close()
        self.tcp.close()


def listen(host: str, port: int) -> Sockets:
    """Return sockets on ``host`` (name or address) and ``port``; 0 for a free one.

    A port that anyone else has is refused. Raises `BadSetting` with what to do when it
    can't be had.
    """
    # The same choice as for HTTP.
    family, address = listen_address.address_of(host, port, socket.SOCK_DGRAM)
    try:
        return _bind(family, address)
    except OSError as error:
        raise BadSetting(
            f"can't answer DNS on {host} port {port}:"
            f" {listen_address.why_not(error, '--dns-port')}"
        ) from error


def _bind(family: socket.AddressFamily, address: tuple[Any, ...]) -> Sockets:
    wildcard = ip_address(address[0].partition("%")[0]).is_unspecified
    dualstack = family == socket.AF_INET6 and address[0] == "::"
    # Neither with SO_REUSEPORT, which would share a port that is taken.
    tcp = socket.create_server(
        address,
        family=family,
        backlog=_BACKLOG,
        dualstack_ipv6=dualstack and socket.has_dualstack_ipv6(),
    )
    udp = socket.socket(family, socket.SOCK_DGRAM)
    try:
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        if family == socket.AF_INET6:
            udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not dualstack)
        if wildcard:
            _tell_destination(udp, family)
        udp.bind(tcp.getsockname())
    except BaseException:
        udp.close()
        tcp.close()
        raise
    udp.setblocking(False)
    tcp.setblocking(False)
    return Sockets(udp, tcp, wildcard)


def _tell_destination(udp: socket.socket, family: socket.AddressFamily) -> None:
    # A caller takes an answer only from the address that it has asked.
    if family == socket.AF_INET6:
        udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    else:
        udp.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)


def receive(udp: socket.socket, size: int) -> tuple[bytes, Ancillary, Any]:
    """Return a datagram, what `send` needs to answer it, and who sent it."""
    packet, ancillary, _, peer = udp.recvmsg(size, _ANCILLARY)
    return packet, [_answering(*each) for each in ancillary], peer


def _answering(level: int, kind: int, data: bytes) -> tuple[int, int, bytes]:
    if level == socket.IPPROTO_IP and len(data) >= _IPV4_INFO.size:
        # Any interface, from the address that was asked.
        _, own, _ = _IPV4_INFO.unpack_from(data)
        data = _IPV4_INFO.pack(0, own, bytes(4))
    return level, kind, data
