"""Explains the errors of PostgreSQL and its driver."""

from typing import Final

import psycopg

from modularity_registry.errors import StoreCorrupt, StoreError, StoreUnavailable
from modularity_registry.stores.server_url import Host

GONE: Final = frozenset({"3F000", "42P01", "42883"})
"""Codes for a missing schema, table or function."""

_DAMAGED: Final = frozenset({"XX001", "XX002"})

# What goes wrong behind such a pool: a statement is prepared on one server's session,
# and missing or already there on the next.
POOLED: Final = (
    "it is behind a pool in transaction mode, which has neither prepared statements"
    " nor LISTEN; use a pool in session mode, or a direct line to the server"
)

_ADVICE: Final = {
    "26000": POOLED,
    "42P05": POOLED,
    "25006": "it is a standby and accepts no writes",
    "42501": "the user lacks a privilege; make it the owner of the schema",
    "53100": "its disk is full",
    "57014": "the statement timed out",
}

# Before a session begins the server sends no code for these.
_CREDENTIALS: Final = ("authentication failed", "no password supplied", "role ")


class Refused(StoreUnavailable):
    """The server answered a statement with an error and changed nothing."""

    def __init__(self, detail: str, sqlstate: str = "") -> None:
        super().__init__(detail)
        self.sqlstate = sqlstate


class ConnectionBroken(StoreUnavailable):
    """No answer came: the statement may have been carried out or not."""


def translated(error: psycopg.Error, broken: bool) -> StoreError:
    """Return the store's error for a statement's; ``broken``: the connection is."""
    reason = _first_line(error)
    code = error.sqlstate or ""
    if code in _DAMAGED:
        return StoreCorrupt(f"PostgreSQL reports damaged data: {reason}; restore it")
    # A session that an administrator ended may have committed without an answer, while
    # it waited for a standby.
    if broken or not code or code.startswith(("08", "57P")):
        return ConnectionBroken(f"the connection to PostgreSQL broke: {reason}")
    advice = _ADVICE.get(code)
    return Refused(
        f"PostgreSQL refused: {advice + ': ' if advice else ''}{reason}", code
    )


def unreachable(error: psycopg.Error, host: Host) -> StoreUnavailable:
    """Return why connecting to ``host`` failed."""
    reason = _first_line(error)
    if any(text in reason for text in _CREDENTIALS):
        return StoreUnavailable(
            f"PostgreSQL at {host} refuses the credentials: {reason}; check the"
            " user and the password in the URL"
        )
    return StoreUnavailable(f"PostgreSQL at {host} can't be used: {reason}")


def _first_line(error: psycopg.Error) -> str:
    """Return the error in one line, without the driver's additions."""
    text = error.diag.message_primary or str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    first = lines[0] if lines else type(error).__name__
    for prefix in (" failed: ", "FATAL:", "ERROR:"):
        # "connection failed: connection to server at ... failed: FATAL:  the reason"
        first = first.rpartition(prefix)[2].strip() or first
    return first.rstrip(".")
