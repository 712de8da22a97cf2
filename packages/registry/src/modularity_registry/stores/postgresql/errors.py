"""What PostgreSQL and its driver say, in the registry's own words."""

from typing import Final

import psycopg

from modularity_registry.errors import StoreCorrupt, StoreError, StoreUnavailable
from modularity_registry.stores.server_url import Host

GONE: Final = frozenset({"3F000", "42P01", "42883"})
"""Codes for a schema, table or function that is not there."""

_DAMAGED: Final = frozenset({"XX001", "XX002"})

_ADVICE: Final = {
    "25006": "it takes no writes, as a standby doesn't",
    "42501": "the user lacks a privilege; make it the owner of the schema",
    "53100": "its disk is full",
    "57014": "it did not get done in time, and gave up",
}

# As the server has no other way to tell before a session begins.
_CREDENTIALS: Final = ("authentication failed", "no password supplied", "role ")


class Refused(StoreUnavailable):
    """The server answered a statement with an error, and did nothing of it."""

    def __init__(self, detail: str, sqlstate: str = "") -> None:
        super().__init__(detail)
        self.sqlstate = sqlstate


class LineBroken(StoreUnavailable):
    """No answer came: what was asked for may have happened or not."""


def translated(error: psycopg.Error, broken: bool) -> StoreError:
    """Return what a statement's ``error`` means; ``broken``: the line is of no use."""
    said = _said(error)
    code = error.sqlstate or ""
    if code in _DAMAGED:
        return StoreCorrupt(f"PostgreSQL found its data damaged: {said}; restore it")
    # Ended by its administrator a session may have committed and not said so: it was
    # about to wait for a standby.
    if broken or not code or code.startswith(("08", "57P")):
        return LineBroken(f"the line to PostgreSQL broke: {said}")
    advice = _ADVICE.get(code)
    return Refused(f"PostgreSQL refused: {advice + ': ' if advice else ''}{said}", code)


def unreachable(error: psycopg.Error, host: Host) -> StoreUnavailable:
    """Return why no line to ``host`` could be had."""
    said = _said(error)
    if any(each in said for each in _CREDENTIALS):
        return StoreUnavailable(
            f"PostgreSQL at {host} refuses the credentials: {said}; check the user and"
            " the password in the URL"
        )
    return StoreUnavailable(f"PostgreSQL at {host} can't be used: {said}")


def _said(error: psycopg.Error) -> str:
    """Return the error in one line, without what the driver puts around it."""
    text = error.diag.message_primary or str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    first = lines[0] if lines else type(error).__name__
    for mark in (" failed: ", "FATAL:", "ERROR:"):
        # "connection failed: connection to server at ... failed: FATAL:  the reason"
        first = first.rpartition(mark)[2].strip() or first
    return first.rstrip(".")
