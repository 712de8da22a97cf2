"""Says in plain words what went wrong between the store and ZooKeeper."""

from typing import Any, Final, NamedTuple

from kazoo import exceptions as kazoo  # type: ignore[import-untyped]  # has no types

from modularity_registry.errors import StoreUnavailable
from modularity_registry.stores.server_url import Server

ANSWERS: Final = (
    kazoo.NoNodeError,
    kazoo.NodeExistsError,
    kazoo.BadVersionError,
)
"""What a step of a transaction fails over when somebody else was faster."""

UNKNOWN: Final = "the outcome of the write is unknown"
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
    """What the store keeps at the server is gone, or was begun anew."""


class FailedStep(NamedTuple):
    """The step of a transaction that all of it failed over."""

    position: int
    error: Exception


def first_error(results: list[Any]) -> FailedStep | None:
    """Return the step that failed; None when the transaction went through."""
    for position, result in enumerate(results):
        # Those before it were rolled back, those after it not tried.
        if isinstance(result, Exception) and not isinstance(
            result, kazoo.RolledBackError | kazoo.RuntimeInconsistency
        ):
            return FailedStep(position, result)
    return None


def failure(error: Exception, server: Server, writing: bool) -> StoreUnavailable:
    """Return what to raise in place of a driver's error that is no answer."""
    place = f"ZooKeeper at {server}"
    if isinstance(error, _REFUSALS):
        return StoreUnavailable(refusal(server))
    if isinstance(error, kazoo.ThrottledOpError):
        return StoreUnavailable(f"{place} is overloaded; {NOTHING}, try again")
    if isinstance(error, _BREAKS):
        said = f"the connection to {place} was lost"
    else:
        said = f"{place} answered with {type(error).__name__}"
    return StoreUnavailable(f"{said}; {UNKNOWN}" if writing else said)


def refusal(server: Server) -> str:
    """Return the sentence for a user who may not do what the store has to do."""
    who = f"the user {server.user!r}" if server.user else "a user without a name"
    return (
        f"ZooKeeper at {server} refuses {who} at /{server.prefix}: check the user and"
        " the password, or who owns that node"
    )
