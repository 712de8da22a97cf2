"""Asks the Sentinels of several Redis servers which one is the primary."""

from typing import Any, Final

from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from redis.sentinel import Sentinel

from modularity_registry.errors import StoreUnavailable
from modularity_registry.stores.redis.driver_options import login, tls_files
from modularity_registry.stores.server_url import Host, Server

ANSWER_SECONDS: Final = 1.0
"""How long to wait for each Sentinel. Closing a store waits for it, too."""


def find_primary(server: Server) -> Host:
    """Return where the primary is that the URL names, as the first Sentinel says.

    Raises `StoreUnavailable` if none of them knows a primary that is up. Sentinels that
    want a password get that of the Redis servers.
    """
    reason: Exception | None = None
    for credentials in ({}, login(server)) if server.password else ({},):
        try:
            return _ask(server, credentials)
        except RedisError as error:
            reason = error
    raise StoreUnavailable(
        f"no Sentinel at {server} knows a primary called {server.primary} that is up;"
        " check the addresses and the name in the store URL, and whether the Sentinels"
        " want another password than Redis"
    ) from reason


def _ask(server: Server, credentials: dict[str, Any]) -> Host:
    # The driver's methods have no types.
    sentinel: Any = Sentinel(
        server.hosts,
        sentinel_kwargs={
            "socket_timeout": ANSWER_SECONDS,
            "socket_connect_timeout": ANSWER_SECONDS,
            "retry": Retry(NoBackoff(), 0),  # type: ignore[no-untyped-call]
            "protocol": 2,
            "ssl": server.tls is not None,
            **credentials,
            **tls_files(server),
        },
    )
    try:
        return Host(*sentinel.discover_master(server.primary))
    finally:
        for each in sentinel.sentinels:
            each.close()
