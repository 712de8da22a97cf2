"""Explains the errors of ZooKeeper and its driver."""

from typing import Any, Final, NamedTuple

from kazoo import exceptions as kazoo  # type: ignore[import-untyped]  # has no types

from modularity_registry.errors import OutcomeUnknown, StoreError, StoreUnavailable
from modularity_registry.stores.server_url import Server

ANSWERS: Final = (
    kazoo.NoNodeError,
    kazoo.NodeExistsError,
    kazoo.BadVersionError,
)
"""Errors of a step in a transaction when another writer was faster."""

NOTHING: Final = "nothing was written"

_REFUSALS: Final = (
    kazoo.NoAuthError,
    kazoo.AuthFailedError,
    kazoo.InvalidACLError,
    kazoo.SessionClosedRequireSaslError,
)
_BREAKS: Final = (
    kazoo.ConnectionLoss,
    kazoo.ConnectionDropped,
    kazoo.SessionExpiredError,  # ConnectionClosedError is one, too
    kazoo.SessionMovedError,
)


class Wiped(Exception):
    """The store's data was deleted, or it has a new epoch."""


class FailedStep(NamedTuple):
    """The step that made its transaction fail."""

    position: int
    error: Exception


def first_error(results: list[Any]) -> FailedStep | None:
    """Return the step that failed; None when the transaction went through."""
    for position, result in enumerate(results):
        # The steps before it were rolled back, those after it not tried.
        if isinstance(result, Exception) and not isinstance(
            result, kazoo.RolledBackError | kazoo.RuntimeInconsistency
        ):
            return FailedStep(position, result)
    return None


def failure(error: Exception, server: Server, writing: bool) -> StoreError:
    """Return the store's error for an error of the driver."""
    address = f"ZooKeeper at {server}"
    if isinstance(error, _REFUSALS):
        return StoreUnavailable(refusal(server))
    if isinstance(error, kazoo.ThrottledOpError):
        return StoreUnavailable(f"{address} is overloaded; {NOTHING}, try again")
    if isinstance(error, _BREAKS):
        reason = f"the connection to {address} was lost"
    else:
        reason = f"{address} answered with {type(error).__name__}"
    return OutcomeUnknown.because(reason) if writing else StoreUnavailable(reason)


def refusal(server: Server) -> str:
    """Return the message for a user who lacks access."""
    user = f"the user {server.user!r}" if server.user else "a connection without a user"
    return (
        f"ZooKeeper at {server} refuses {user} at /{server.prefix}: check the user and"
        " the password, or who owns that node"
    )
