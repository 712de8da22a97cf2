"""The tokens as this process knows them: whose is the text that a call shows."""

import hmac
import logging
from collections.abc import Callable, Iterable

from modularity_registry.catalog import documents
from modularity_registry.clock import Clock
from modularity_registry.errors import StoreCorrupt
from modularity_registry.model.rights import Caller, Token, digest_of
from modularity_registry.stores.base import Record

log = logging.getLogger(__name__)

UNKNOWN = Caller(refused="the token is not known here: it was revoked, or is no token")
EXPIRED = Caller(refused="the token has expired; an admin can make or rotate one")


class Tokens:
    """All tokens, replaced whole with every change; readers take no lock.

    Fed by the store's feed, as the catalog is, or by a file: see `file.Follower`.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tokens: dict[str, tuple[Token, int]] = {}
        self._callers: dict[str, Caller] = {}
        self._listeners: list[Callable[[], None]] = []

    def caller(self, text: str) -> Caller:
        """Return who shows a token of this text; with ``refused`` if it is no good."""
        digest = digest_of(text)
        found = self._callers.get(digest)
        # The dictionary compares hashes, of which no caller can choose a part; the
        # last word has a comparison that takes the same time wherever they differ.
        if found is None or not hmac.compare_digest(found.digest or "", digest):
            return UNKNOWN
        return EXPIRED if self._is_over(found) else found

    def holds(self, caller: Caller) -> bool:
        """Say whether what this caller showed still gives the rights that it gave."""
        if caller.digest is None:
            return True
        return self._callers.get(caller.digest) == caller and not self._is_over(caller)

    def all(self) -> dict[str, tuple[Token, int]]:
        """Return every token with the revision of its record, by name."""
        return dict(sorted(self._tokens.items()))

    def listen(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` after every change, in the thread that brings it."""
        self._listeners.append(listener)

    def changed(self, key: str, value: bytes | None, revision: int) -> None:
        """Take one record that was written, or deleted if ``value`` is None."""
        tokens = dict(self._tokens)
        tokens.pop(documents.token_name(key), None)
        if value is not None:
            tokens |= _read([Record(key, value, revision)])
        self.replace(tokens)

    def loaded(self, found: list[Record]) -> None:
        """Take all records anew."""
        self.replace(_read(found))

    def replace(self, tokens: dict[str, tuple[Token, int]]) -> None:
        """Take these in place of all before."""
        self._tokens = tokens
        self._callers = {
            caller.digest: caller
            for token, _ in tokens.values()
            for caller in _callers(token)
            if caller.digest is not None
        }
        for listener in self._listeners:
            listener()

    def _is_over(self, caller: Caller) -> bool:
        ends = caller.expires_at
        return ends is not None and self._clock.now() >= ends


def _callers(token: Token) -> Iterable[Caller]:
    yield Caller.of(token, token.digest, token.expires_at)
    if token.former is not None and token.former_until is not None:
        ends = token.former_until
        if token.expires_at is not None:
            ends = min(ends, token.expires_at)
        yield Caller.of(token, token.former, ends)


def _read(found: list[Record]) -> dict[str, tuple[Token, int]]:
    read: dict[str, tuple[Token, int]] = {}
    for record in found:
        try:
            token = documents.decode_token(record.key, record.value)
        except StoreCorrupt as error:
            # Whoever holds it is kept out, all others are not.
            log.error("unreadable token: %s", error.detail)
            continue
        read[token.name] = token, record.revision
    return read
