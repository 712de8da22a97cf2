"""What the gRPC errors of etcd mean to whoever runs the registry.

etcd's own sentences: ``api/v3rpc/rpctypes/error.go`` in its sources.
"""

from typing import Final

import grpc

from modularity_registry.errors import StoreCorrupt, StoreError, StoreUnavailable
from modularity_registry.stores.server_url import Server

# Nobody has read the request then: the first two are gRPC's own words for a
# connection that was never made, the others are refusals at etcd's door.
_UNSENT: Final = (
    "failed to connect to all addresses",
    "DNS resolution failed",
    "etcdserver: no leader",
    "etcdserver: rpc not supported for learner",
)
# In these cases another member may do better.
_AWAY: Final = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
    }
)
_STALE_TOKEN: Final = (
    "invalid auth token",
    "revision of auth store is old",
    "user name is empty",
)

# What is in etcd's or gRPC's sentence, and what to tell then.
_REFUSED: Final = (
    ("authentication failed", "refuses the user or the password in the store URL"),
    ("user name is empty", "asks for a user and a password; put them in the store URL"),
    (
        "permission denied",
        "does not let this user read and write all under the prefix;"
        " grant its role readwrite there",
    ),
    (
        "database space exceeded",
        "is out of space and takes no writes; compact and defragment it, then run"
        " 'etcdctl alarm disarm'",
    ),
    ("too many requests", "has too much to do; try again"),
    ("too large", "takes no record of this size; see its --max-request-bytes"),
    ("larger than max", "takes no record of this size; see its --max-request-bytes"),
)
_UNREACHED: Final = (
    ("Connection refused", "refuses connections; start it, or correct the store URL"),
    ("DNS resolution failed", "has a name that is not known; correct the store URL"),
    ("CERTIFICATE_VERIFY_FAILED", "has a certificate that is not trusted; see ca="),
    ("andshake", "can't agree on TLS; see tls=, ca=, cert= and key= in the store URL"),
    ("SSL", "can't agree on TLS; see tls=, ca=, cert= and key= in the store URL"),
    ("no leader", "has no leader; see whether most of its members run"),
    (
        "failed to connect",
        "can't be reached; see whether it runs, and whether it wants tls=true or cert=",
    ),
)


class Compacted(StoreUnavailable):
    """A revision was asked for that etcd has already forgotten."""


class NotAsked(Exception):
    """There is no token, so the request itself was not sent; ``error`` is gRPC's."""

    def __init__(self, error: grpc.RpcError) -> None:
        super().__init__()
        self.error = error


def code_of(error: grpc.RpcError) -> grpc.StatusCode:
    return error.code() if isinstance(error, grpc.Call) else grpc.StatusCode.UNKNOWN


def words_of(error: grpc.RpcError) -> str:
    return (error.details() or "") if isinstance(error, grpc.Call) else ""


def away(error: grpc.RpcError) -> bool:
    """Whether another member may answer where this one did not."""
    return code_of(error) in _AWAY


def unsent(error: grpc.RpcError) -> bool:
    """Whether the request has certainly not been carried out."""
    return not away(error) or (
        code_of(error) is grpc.StatusCode.UNAVAILABLE
        and words_of(error).startswith(_UNSENT)
    )


def stale_token(error: grpc.RpcError) -> bool:
    """Whether to authenticate and ask again; nothing was carried out then."""
    return not away(error) and any(each in words_of(error) for each in _STALE_TOKEN)


def auth_is_off(error: grpc.RpcError) -> bool:
    return "authentication is not enabled" in words_of(error)


def explain(error: grpc.RpcError, server: Server, unknown: bool) -> StoreError:
    """Return the store's error for ``error``: what happened, and what to do.

    ``unknown`` is whether it may have ended a write that was carried out.
    """
    code, words = code_of(error), words_of(error)
    if code is grpc.StatusCode.OUT_OF_RANGE:
        return Compacted(f"etcd at {server} has forgotten what was asked for")
    if code is grpc.StatusCode.DATA_LOSS:
        return StoreCorrupt(
            f"etcd at {server} says that its data is damaged; restore it from a backup"
        )
    sentence = _sentence(_UNREACHED if away(error) else _REFUSED, words)
    if unknown:
        happened = sentence or _broke_off(code)
        return StoreUnavailable(
            f"etcd at {server} {happened}; the outcome of the write is unknown,"
            " read before writing again"
        )
    return StoreUnavailable(f"etcd at {server} {sentence or _other(code)}")


def _sentence(table: tuple[tuple[str, str], ...], words: str) -> str:
    return next((sentence for part, sentence in table if part in words), "")


def _broke_off(code: grpc.StatusCode) -> str:
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return "did not answer in time"
    return "broke off"


def _other(code: grpc.StatusCode) -> str:
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return "does not answer in time; see whether it runs"
    if code in _AWAY:
        return "broke off; see whether it runs"
    return f"refuses what the registry asks for ({code.name}); see its log"
