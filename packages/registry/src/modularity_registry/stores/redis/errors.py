"""What a Redis server or its driver says, as one sentence of the store's own."""

import re
import ssl
from typing import Final, NamedTuple

from redis import exceptions

from modularity_registry.errors import StoreUnavailable
from modularity_registry.stores.server_url import Server

UNKNOWN: Final = "whether the write was made is unknown"

_MOVED: Final = "is part of a cluster, and another node holds the prefix; name that one"


class _Refusal(NamedTuple):
    """An error by its code, as a pattern; the driver takes those it knows off."""

    code: str
    kinds: tuple[type[Exception], ...]
    says: str


_REFUSALS: Final = (
    _Refusal(
        "READONLY",
        (exceptions.ReadOnlyError,),
        "is a replica and takes no writes; the store URL has to name the primary",
    ),
    _Refusal(
        "OOM",
        (exceptions.OutOfMemoryError,),
        "has no memory left for a write; raise its maxmemory",
    ),
    _Refusal(
        "NOPERM|user executing the script can't|ACL failure in script",
        (exceptions.NoPermissionError,),
        "does not permit the user a command or key that the store needs; extend its"
        " ACL",
    ),
    _Refusal(
        "LOADING",
        (exceptions.BusyLoadingError,),
        "is still loading its data; try again when it has",
    ),
    _Refusal(
        "MISCONF", (), "takes no writes because it can't save to its disk; see its log"
    ),
    _Refusal(
        "NOREPLICAS",
        (),
        "takes no writes because it has too few replicas; see min-replicas-to-write",
    ),
    _Refusal(
        "WRONGTYPE", (), "holds other data under the store's prefix; choose another one"
    ),
    _Refusal(
        "MASTERDOWN",
        (exceptions.MasterDownError,),
        "is a replica that lost its primary; the store URL has to name the primary",
    ),
    _Refusal("CLUSTERDOWN", (exceptions.ClusterDownError,), _MOVED),
    _Refusal("MOVED", (exceptions.MovedError, exceptions.AskError), _MOVED),
    _Refusal(
        "equal or smaller than the target stream top item",
        (),
        "has a feed that something else wrote to; delete the key that ends with :feed",
    ),
    _Refusal("BUSY", (), "is busy with a script; see SCRIPT KILL"),
    _Refusal(
        "UNBLOCKED", (), "became a replica; the store URL has to name the primary"
    ),
    _Refusal(
        "DB index is out of range",
        (),
        "has no database of that number; see databases in its configuration",
    ),
)


def unavailable(error: Exception, server: Server) -> StoreUnavailable:
    """Return what ``error`` means, in words that repeat nothing from the URL."""
    return StoreUnavailable(f"the Redis server at {server} {_says(error)}")


def refused_as_replica(answer: object) -> bool:
    """Whether the server refused a write because it is not the primary."""
    if isinstance(answer, exceptions.ReadOnlyError):
        return True
    return isinstance(answer, exceptions.ResponseError) and "READONLY" in str(answer)


def _says(error: Exception) -> str:
    for refusal in _REFUSALS:
        # Inside a script the code stands in the midst of the text.
        if isinstance(error, refusal.kinds) or re.search(
            rf"\b(?:{refusal.code})\b", _text(error)
        ):
            return refusal.says
    if isinstance(error, exceptions.AuthenticationError):
        return "refuses the user or the password; check them in the store URL"
    if isinstance(error, exceptions.ResponseError):
        return "refused a command of the store; it has to be Redis 6.0 or later"
    if isinstance(error, exceptions.TimeoutError | TimeoutError):
        return "did not answer in time; check that it runs and can be reached"
    return _broken(error)


def _text(error: Exception) -> str:
    # Of a connection that failed the text holds names, not codes.
    return str(error) if isinstance(error, exceptions.ResponseError) else ""


def _broken(error: Exception) -> str:
    cause = error if isinstance(error, OSError) else error.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"has a certificate that is not trusted: {cause.verify_message}"
    if isinstance(cause, ssl.SSLError):
        return "does not agree on TLS; check its port, and ca, cert and key"
    if isinstance(cause, OSError) and cause.strerror:
        return f"can't be reached: {cause.strerror}"
    return "can't be reached or closed the connection; check that it runs"
