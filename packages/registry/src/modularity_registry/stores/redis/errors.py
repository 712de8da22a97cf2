"""Explains the errors of a Redis server and its driver."""

import re
import ssl
from typing import Final, NamedTuple

from redis import exceptions

from modularity_registry.errors import StoreUnavailable
from modularity_registry.stores.server_url import Server

_MOVED: Final = (
    "is part of a cluster, which is not supported; use a server without cluster mode"
)


class _Refusal(NamedTuple):
    """An error by its code, a pattern, or its class: the driver removes some codes.

    ``by_replica``: only a server that is not the primary answers so.
    """

    code: str
    classes: tuple[type[Exception], ...]
    text: str
    by_replica: bool = False


_REFUSALS: Final = (
    _Refusal(
        "READONLY",
        (exceptions.ReadOnlyError,),
        "is a replica and accepts no writes",
        by_replica=True,
    ),
    _Refusal(
        "OOM",
        (exceptions.OutOfMemoryError,),
        "has no memory left for a write; raise its maxmemory",
    ),
    _Refusal(
        "NOPERM|user executing the script can't|ACL failure in script",
        (exceptions.NoPermissionError,),
        "does not allow the user a command or key that the store needs; extend its ACL",
    ),
    _Refusal(
        "LOADING",
        (exceptions.BusyLoadingError,),
        "is still loading its data; try again later",
    ),
    _Refusal(
        "MISCONF",
        (),
        "accepts no writes because it can't save to its disk; see its log",
    ),
    _Refusal(
        "NOREPLICAS",
        (),
        "accepts no writes because it has too few replicas; see min-replicas-to-write",
    ),
    _Refusal(
        "WRONGTYPE", (), "holds other data under the store's prefix; choose another one"
    ),
    _Refusal(
        "MASTERDOWN",
        (exceptions.MasterDownError,),
        "is a replica that lost its primary",
        by_replica=True,
    ),
    _Refusal("CLUSTERDOWN", (exceptions.ClusterDownError,), _MOVED),
    _Refusal("MOVED", (exceptions.MovedError, exceptions.AskError), _MOVED),
    _Refusal(
        "equal or smaller than the target stream top item",
        (),
        "has a feed that another program wrote to; delete the key that ends with :feed",
    ),
    _Refusal("BUSY", (), "is busy with a script; see SCRIPT KILL"),
    _Refusal("UNBLOCKED", (), "became a replica", by_replica=True),
    _Refusal(
        "DB index is out of range",
        (),
        "has no database with this number; see databases in its configuration",
    ),
)


def unavailable(error: Exception, server: Server) -> StoreUnavailable:
    """Return the store's error; its text repeats no credentials."""
    return StoreUnavailable(f"{title(server)} {_explain(error, server)}")


def title(server: Server) -> str:
    """Return what messages call the server."""
    if server.primary:
        return f"the Redis server {server.primary} of the Sentinels at {server}"
    return f"the Redis server at {server}"


def is_replica_refusal(answer: object) -> bool:
    """Return whether the server refused a write because it is not the primary."""
    if isinstance(answer, exceptions.ReadOnlyError):
        return True
    return isinstance(answer, exceptions.ResponseError) and "READONLY" in str(answer)


def _explain(error: Exception, server: Server) -> str:
    for refusal in _REFUSALS:
        # For an error in a script, the code is inside the text.
        if isinstance(error, refusal.classes) or re.search(
            rf"\b(?:{refusal.code})\b", _text(error)
        ):
            if not refusal.by_replica:
                return refusal.text
            hint = (
                "the Sentinels have not named another primary yet"
                if server.primary
                else "the store URL must name the primary"
            )
            return f"{refusal.text}; {hint}"
    if isinstance(error, exceptions.AuthenticationError):
        return "refuses the user or the password; check them in the store URL"
    if isinstance(error, exceptions.ResponseError):
        return "refused a command of the store; it must be Redis 6.0 or later"
    if isinstance(error, exceptions.TimeoutError | TimeoutError):
        return "did not answer in time; check that it runs and can be reached"
    return _connection_failure(error)


def _text(error: Exception) -> str:
    # The text of a failed connection contains names, no codes.
    return str(error) if isinstance(error, exceptions.ResponseError) else ""


def _connection_failure(error: Exception) -> str:
    cause = error if isinstance(error, OSError) else error.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"has a certificate that is not trusted: {cause.verify_message}"
    if isinstance(cause, ssl.SSLError):
        return "does not agree on TLS; check its port, and ca, cert and key"
    if isinstance(cause, OSError) and cause.strerror:
        return f"can't be reached: {cause.strerror}"
    return "can't be reached or closed the connection; check that it runs"
