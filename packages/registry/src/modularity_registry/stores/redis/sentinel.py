"""Asks the Sentinels of several Redis servers which one is the primary."""

from typing import Any, Final

from redis import exceptions
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError, Sentinel

from modularity_registry.errors import StoreUnavailable
from modularity_registry.stores.server_url import Host, Server

ANSWER_SECONDS: Final = 1.0
"""How long to wait for each Sentinel. Closing a store waits for it, too."""


def find_primary(server: Server) -> Host:
    """Return where the primary is that the URL names, as the first Sentinel says.

    Raises `StoreUnavailable` if none of them knows a primary that is up. Sentinels that
    want a password get that of the Redis servers.
    """
    try:
        return _ask(server, {})
    except (MasterNotFoundError, exceptions.RedisError) as error:
        reason = error
    if server.password:
        try:
            return _ask(server, _credentials(server))
        except (MasterNotFoundError, exceptions.RedisError) as error:
            reason = error
    raise StoreUnavailable(
        f"no Sentinel at {server} knows a primary called {server.primary} that is up;"
        " check the addresses and the name in the store URL, and whether the Sentinels"
        " want another password than Redis"
    ) from reason


def _ask(server: Server, credentials: dict[str, str]) -> Host:
    # The driver's methods have no types.
    sentinel: Any = Sentinel(
        server.hosts,
        sentinel_kwargs={
            "socket_timeout": ANSWER_SECONDS,
            "socket_connect_timeout": ANSWER_SECONDS,
            "retry": Retry(NoBackoff(), 0),  # type: ignore[no-untyped-call]
            "protocol": 2,
            **credentials,
            **_tls(server),
        },
    )
    try:
        return Host(*sentinel.discover_master(server.primary))
    finally:
        for each in sentinel.sentinels:
            each.close()


def _credentials(server: Server) -> dict[str, str]:
    user = {"username": server.user} if server.user else {}
    return {"password": server.password, **user}


def _tls(server: Server) -> dict[str, Any]:
    if server.tls is None:
        return {}
    return {
        "ssl": True,
        "ssl_ca_certs": server.tls.ca,
        "ssl_certfile": server.tls.cert,
        "ssl_keyfile": server.tls.key,
    }
