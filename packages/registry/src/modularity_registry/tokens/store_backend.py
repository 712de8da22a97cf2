"""Tokens in a store: that of a running registry, or one opened to write tokens."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from modularity_registry.catalog import documents
from modularity_registry.catalog.feed import Feed
from modularity_registry.errors import StoreConflict, TokenConflict
from modularity_registry.model.rights import Token
from modularity_registry.stores.base import Store, Write, delete, put, snapshot_of
from modularity_registry.stores.group_commit import Writer
from modularity_registry.tasks import run_on
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
        with _overtaken(token.name, expected):
            put(
                self._store,
                documents.key_of_token(token.name),
                documents.encode_token(token),
                expected,
            )

    def delete(self, name: str, expected: int) -> None:
        with _overtaken(name, expected):
            delete(self._store, documents.key_of_token(name), expected)


class RegistryTokenBackend:
    """The tokens in the store of a running registry, for threads other than its loop's.

    A change is in effect in this process when the call returns.
    """

    def __init__(self, writer: Writer, feed: Feed, tokens: TokenView) -> None:
        self._writer = writer
        self._feed = feed
        self._tokens = tokens

    def all(self) -> dict[str, tuple[Token, int]]:
        return self._tokens.all()

    def put(self, token: Token, expected: int) -> None:
        document = documents.encode_token(token)
        with _overtaken(token.name, expected):
            key = documents.key_of_token(token.name)
            run_on(self._feed.loop, self._write(Write(key, document, expected)))

    def delete(self, name: str, expected: int) -> None:
        with _overtaken(name, expected):
            key = documents.key_of_token(name)
            run_on(self._feed.loop, self._write(Write(key, None, expected)))

    async def _write(self, write: Write) -> None:
        self._feed.require()
        revision = await self._writer.write(write)
        if revision is not None:
            await self._feed.wait(revision)


@contextmanager
def _overtaken(name: str, expected: int) -> Iterator[None]:
    """Say in the words of tokens that another writer was faster."""
    try:
        yield
    except StoreConflict:
        happened = "was changed meanwhile; read it again"
        if expected == 0:
            happened = "exists already; rotate or revoke it"
        raise TokenConflict(f"the token {name!r} {happened}") from None
