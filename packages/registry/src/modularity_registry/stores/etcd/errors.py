"""Explains etcd's gRPC errors to the operator.

etcd's error texts: ``api/v3rpc/rpctypes/error.go`` in its sources.
"""

from typing import Final

import grpc

from modularity_registry.errors import (
    OutcomeUnknown,
    StoreCorrupt,
    StoreError,
    StoreUnavailable,
)
from modularity_registry.stores.server_url import Server

# etcd has not read the request then: the first two are gRPC's texts for a connection
# that failed, the others are etcd's for a request that it refuses to take.
_UNSENT: Final = (
    "failed to connect to all addresses",
    "DNS resolution failed",
    "etcdserver: no leader",
    "etcdserver: rpc not supported for learner",
)
# With these another member may still answer.
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

# A part of etcd's or gRPC's text, and the registry's text for it.
_REFUSED: Final = (
    ("authentication failed", "refuses the user or the password in the store URL"),
    ("user name is empty", "needs a user and a password; put them in the store URL"),
    (
        "permission denied",
        "does not let this user read and write under the prefix;"
        " grant its role readwrite there",
    ),
    (
        "database space exceeded",
        "is out of space and accepts no writes; compact and defragment it, then run"
        " 'etcdctl alarm disarm'",
    ),
    ("too many requests", "is overloaded; try again"),
    ("too large", "accepts no record of this size; raise its --max-request-bytes"),
    (
        "larger than max",
        "accepts no record of this size; raise its --max-request-bytes",
    ),
)
_UNREACHED: Final = (
    ("Connection refused", "refuses connections; start it, or correct the store URL"),
    ("DNS resolution failed", "has an unknown host name; correct the store URL"),
    ("CERTIFICATE_VERIFY_FAILED", "has a certificate that is not trusted; check ca="),
    (
        "andshake",
        "can't agree on TLS; check tls=, ca=, cert= and key= in the store URL",
    ),
    ("SSL", "can't agree on TLS; check tls=, ca=, cert= and key= in the store URL"),
    ("Channel closed", "lost its leader, and has another one now; try again"),
    ("no leader", "has no leader; check that most of its members run"),
    (
        "failed to connect",
        "can't be reached; check that it runs, and whether it needs tls=true or cert=",
    ),
)


class Compacted(StoreUnavailable):
    """etcd has already compacted the requested revision."""


class NotSent(Exception):
    """The request was not sent: getting a token failed with gRPC's ``error``."""

    def __init__(self, error: grpc.RpcError) -> None:
        super().__init__()
        self.error = error


def code_of(error: grpc.RpcError) -> grpc.StatusCode:
    return error.code() if isinstance(error, grpc.Call) else grpc.StatusCode.UNKNOWN


def words_of(error: grpc.RpcError) -> str:
    return (error.details() or "") if isinstance(error, grpc.Call) else ""


def may_answer_elsewhere(error: grpc.RpcError) -> bool:
    """Whether another member may answer where this one did not."""
    return code_of(error) in _AWAY


def is_unsent(error: grpc.RpcError) -> bool:
    """Whether the request has certainly not been carried out."""
    return not may_answer_elsewhere(error) or (
        code_of(error) is grpc.StatusCode.UNAVAILABLE
        and words_of(error).startswith(_UNSENT)
    )


def is_stale_token(error: grpc.RpcError) -> bool:
    """Whether to authenticate and call again; nothing was carried out then."""
    return not may_answer_elsewhere(error) and any(
        text in words_of(error) for text in _STALE_TOKEN
    )


def auth_is_off(error: grpc.RpcError) -> bool:
    return "authentication is not enabled" in words_of(error)


def explain(error: grpc.RpcError, server: Server, unknown: bool) -> StoreError:
    """Return the store's error for ``error``: what happened, and what to do.

    With ``unknown`` the failed call may have written.
    """
    code, words = code_of(error), words_of(error)
    if code is grpc.StatusCode.OUT_OF_RANGE:
        return Compacted(f"etcd at {server} has compacted the requested revision")
    if code is grpc.StatusCode.DATA_LOSS:
        return StoreCorrupt(
            f"etcd at {server} reports damaged data; restore it from a backup"
        )
    sentence = _sentence(_UNREACHED if may_answer_elsewhere(error) else _REFUSED, words)
    if unknown:
        reason = sentence or _interrupted(code)
        return OutcomeUnknown.because(f"etcd at {server} {reason}")
    return StoreUnavailable(f"etcd at {server} {sentence or _other(code)}")


def _sentence(table: tuple[tuple[str, str], ...], words: str) -> str:
    return next((sentence for part, sentence in table if part in words), "")


def _interrupted(code: grpc.StatusCode) -> str:
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return "did not answer in time"
    return "broke the connection"


def _other(code: grpc.StatusCode) -> str:
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return "did not answer in time; check that it runs"
    if code in _AWAY:
        return "broke the connection; check that it runs"
    return f"refused the request ({code.name}); see its log"
