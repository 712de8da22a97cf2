"""Waits until a service listens, so that the registry's first check succeeds."""

import logging
import socket
import threading
import time
from urllib.parse import urlsplit

log = logging.getLogger("modularity_client")

LISTEN_TIMEOUT = 30.0
"""Seconds after which to join anyway: a service may be unable to reach its own
address."""

POLL_INTERVAL, CONNECT_TIMEOUT = 0.05, 1.0
PORTS = {"http": 80, "https": 443}


def wait_until_listening(location: str, stop: threading.Event) -> None:
    """Return once something listens at ``location``, or ``stop`` is set.

    Returns at once for a location without a host and a port, and in any case after
    `LISTEN_TIMEOUT`.
    """
    address = _address(location)
    if address is None:
        return
    deadline = time.monotonic() + LISTEN_TIMEOUT
    while not _listens(address) and not stop.wait(POLL_INTERVAL):
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
        socket.create_connection(address, CONNECT_TIMEOUT).close()
    except (OSError, UnicodeError):  # UnicodeError: an invalid host name
        return False
    return True
