"""Tokens in a store: that of a running registry, or one opened to write tokens."""

from typing import Protocol

from modularity_registry.catalog import documents
from modularity_registry.catalog.feed import Feed
from modularity_registry.errors import StoreConflict, TokenConflict
from modularity_registry.model.rights import Token
from modularity_registry.stores.base import Store, delete, put, snapshot_of
from modularity_registry.tokens.verify import TokenView


class TokenBackend(Protocol):
    """Holds tokens by name, each with the revision at which it was written."""

    def all(self) -> dict[str, tuple[Token, int]]:
        """Return every token with its revision, by name."""

    def put(self, token: Token, expected: int) -> None:
        """Replace the token of revision ``expected``, 0 for none.

        Raises `TokenConflict` if the token has another revision.
        """

    def delete(self, name: str, expected: int) -> None:
        """Remove the token of revision ``expected``; raises as `put`."""


class StoreTokenBackend:
    """The tokens in a store that is open for this alone, as in the command line."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def all(self) -> dict[str, tuple[Token, int]]:
        entries = (
            (documents.decode_token(record.key, record.value), record.revision)
            for record in snapshot_of(self._store).records
            if documents.is_token(record.key)
        )
        return {token.name: (token, revision) for token, revision in entries}

    def put(self, token: Token, expected: int) -> None:
        _put(self._store, token, expected)

    def delete(self, name: str, expected: int) -> None:
        _delete(self._store, name, expected)


class RegistryTokenBackend:
    """The tokens in the store of a running registry.

    A change is in effect in this process when the call returns.
    """

    def __init__(self, store: Store, feed: Feed, tokens: TokenView) -> None:
        self._store = store
        self._feed = feed
        self._tokens = tokens

    def all(self) -> dict[str, tuple[Token, int]]:
        return self._tokens.all()

    def put(self, token: Token, expected: int) -> None:
        self._feed.require()
        self._feed.wait(_put(self._store, token, expected))

    def delete(self, name: str, expected: int) -> None:
        self._feed.require()
        revision = _delete(self._store, name, expected)
        if revision is not None:
            self._feed.wait(revision)


def _put(store: Store, token: Token, expected: int) -> int:
    key = documents.key_of_token(token.name)
    try:
        return put(store, key, documents.encode_token(token), expected)
    except StoreConflict:
        raise _overtaken(token.name, expected) from None


def _delete(store: Store, name: str, expected: int) -> int | None:
    try:
        return delete(store, documents.key_of_token(name), expected=expected)
    except StoreConflict:
        raise _overtaken(name, expected) from None


def _overtaken(name: str, expected: int) -> TokenConflict:
    if expected == 0:
        return TokenConflict(f"the token {name!r} exists already; rotate or revoke it")
    return TokenConflict(f"the token {name!r} was changed meanwhile; read it again")
