"""Where the registry listens: which address a host means, and what is wrong with it."""

import errno
import ipaddress
import os
import socket
from typing import Any

from modularity_registry.errors import BadSetting


def address_of(
    host: str, port: int, kind: socket.SocketKind
) -> tuple[socket.AddressFamily, tuple[Any, ...]]:
    """Return the family and the address to bind a socket to.

    "localhost" is both ::1 and 127.0.0.1, and most callers write the latter. Raises
    `BadSetting` for a host that has no address.
    """
    try:
        found = socket.getaddrinfo(host, port, type=kind, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError, OverflowError) as error:
        raise BadSetting(
            f"the host {host!r} can't be resolved ({error}); "
            "give --host an address of this machine, such as 127.0.0.1"
        ) from error
    family, _, _, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    return socket.AddressFamily(family), address


def why_not(error: Exception, setting: str) -> str:
    """Return why a port can't be had and what to do; ``setting`` is its flag."""
    code = getattr(error, "errno", None)
    reason = os.strerror(code).lower() if code else str(error)
    if isinstance(error, PermissionError):
        return f"{reason}; choose a port above 1023 with {setting}"
    if code == errno.EADDRINUSE or "in use" in reason:
        return (
            "something else listens there; stop it, or choose another port with"
            f" {setting}"
        )
    return f"{reason}; give --host an address of this machine, such as 127.0.0.1"


def is_unspecified(host: str) -> bool:
    """Say whether ``host`` means all addresses of this machine."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def authority(host: str, port: int) -> str:
    """Return ``host:port`` as in a URL, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def reachable(host: str, port: int) -> str:
    """Return ``host:port`` for other machines: by this one's name, if it is on all."""
    return authority(socket.gethostname() if is_unspecified(host) else host, port)


def browser_url(host: str, port: int, https: bool) -> str:
    """Return what to open on this machine for a server that listens there."""
    if is_unspecified(host):
        host = "::1" if ":" in host else "127.0.0.1"
    scheme = "https" if https else "http"
    return f"{scheme}://{authority(host, port)}"


def on_loopback(host: str) -> bool:
    """Say whether only this machine reaches ``host``; a name may mean any."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
