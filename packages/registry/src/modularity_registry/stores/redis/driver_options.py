"""What the driver is told of a server, be it one of Redis or a Sentinel."""

from typing import Any

from modularity_registry.stores.server_url import Server


def login(server: Server) -> dict[str, Any]:
    """Return the user and the password of the URL."""
    return {"username": server.user or None, "password": server.password or None}


def tls_files(server: Server) -> dict[str, Any]:
    """Return what is trusted, and what to be known by; nothing without TLS."""
    if server.tls is None:
        return {}
    return {
        "ssl_ca_certs": server.tls.ca,
        "ssl_certfile": server.tls.cert,
        "ssl_keyfile": server.tls.key,
    }
