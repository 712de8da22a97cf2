"""Where tokens are kept: in the store of a running registry, or in one at rest."""

from typing import Protocol

from modularity_registry.catalog import documents
from modularity_registry.catalog.feed import Feed
from modularity_registry.errors import StoreConflict, TokenConflict
from modularity_registry.model.rights import Token
from modularity_registry.stores.base import Store, snapshot_of
from modularity_registry.tokens.verify import Tokens


class Shelf(Protocol):
    """Holds tokens by name, each with the revision at which it was written."""

    def all(self) -> dict[str, tuple[Token, int]]:
        """Return every token with its revision, by name."""

    def put(self, token: Token, expected: int) -> None:
        """Write a token over the one of revision ``expected``, 0 for none.

        Raises `TokenConflict` when another is there.
        """

    def delete(self, name: str, expected: int) -> None:
        """Remove the token of revision ``expected``; raises as `put`."""


class StoreShelf:
    """The tokens in a store, for who opens it to write them and leaves again."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def all(self) -> dict[str, tuple[Token, int]]:
        found = (
            (documents.decode_token(each.key, each.value), each.revision)
            for each in snapshot_of(self._store).records
            if documents.is_token(each.key)
        )
        return {token.name: (token, revision) for token, revision in found}

    def put(self, token: Token, expected: int) -> None:
        _put(self._store, token, expected)

    def delete(self, name: str, expected: int) -> None:
        _delete(self._store, name, expected)


class RunningShelf:
    """The tokens in the store that a registry follows.

    What is written is in force in this process when the call returns.
    """

    def __init__(self, store: Store, feed: Feed, tokens: Tokens) -> None:
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
        return store.put(key, documents.encode_token(token), expected)
    except StoreConflict:
        raise _overtaken(token.name, expected) from None


def _delete(store: Store, name: str, expected: int) -> int | None:
    try:
        return store.delete(documents.key_of_token(name), expected=expected)
    except StoreConflict:
        raise _overtaken(name, expected) from None


def _overtaken(name: str, expected: int) -> TokenConflict:
    if expected == 0:
        return TokenConflict(f"there is a token {name!r} already; rotate or revoke it")
    return TokenConflict(f"the token {name!r} was changed meanwhile; look at it again")
