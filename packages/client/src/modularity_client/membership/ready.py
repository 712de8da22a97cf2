"""Waits until a service listens, so that the registry's first check finds it."""

import logging
import socket
import threading
import time
from urllib.parse import urlsplit

log = logging.getLogger("modularity_client")

LISTEN_WITHIN = 30.0
"""Seconds after which to go on: a service need not reach its own address."""

LOOK_EVERY, CONNECT_WITHIN = 0.05, 1.0
PORTS = {"http": 80, "https": 443}


def await_listening(location: str, stop: threading.Event) -> None:
    """Return once something listens at ``location``, when it is not the address of
    something that listens, when ``stop`` is set, or after `LISTEN_WITHIN`.
    """
    address = _address(location)
    if address is None:
        return
    deadline = time.monotonic() + LISTEN_WITHIN
    while not _listens(address) and not stop.wait(LOOK_EVERY):
        if time.monotonic() > deadline:
            log.warning("nothing listens at %s yet; joining anyway", location)
            return


def _address(location: str) -> tuple[str, int] | None:
    try:
        parsed = urlsplit(location)
        port = parsed.port or PORTS.get(parsed.scheme)
    except ValueError:
        return None
    return (parsed.hostname, port) if parsed.hostname and port else None


def _listens(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, CONNECT_WITHIN).close()
    except (OSError, UnicodeError):  # the latter for a name that can't be one
        return False
    return True
