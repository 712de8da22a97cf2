"""Verifies the token that comes with a call, by all tokens, held in memory."""

import hmac
import logging
from collections.abc import Callable, Iterable
from dataclasses import replace

from modularity_registry.catalog import documents
from modularity_registry.clock import Clock
from modularity_registry.errors import StoreCorrupt
from modularity_registry.model.rights import Caller, Token, digest_of
from modularity_registry.stores.base import Record

log = logging.getLogger(__name__)

UNKNOWN = Caller(refused="the token is not valid: it was revoked, or never existed")
ELSEWHERE = Caller(
    refused="the token is not valid in this namespace: it was revoked, never existed,"
    " or was made in another one; of the default one's, only an admin's counts here"
)
EXPIRED = Caller(refused="the token has expired; an admin can create or rotate one")


class TokenView:
    """All tokens, replaced as a whole with every change; readers take no lock.

    The store's feed fills it, as it does the catalog, or a `TokenFileWatcher`. The
    ``namespace`` is empty for the default one.
    """

    def __init__(self, clock: Clock, namespace: str = "") -> None:
        self.namespace = namespace
        self._clock = clock
        self._tokens: dict[str, tuple[Token, int]] = {}
        self._callers: dict[str, Caller] = {}
        self._listeners: list[Callable[[], None]] = []

    def caller(self, text: str) -> Caller:
        """Return the caller of a token's text; with ``refused`` if it is not valid."""
        digest = digest_of(text)
        caller = self._callers.get(digest)
        # The dictionary compares hashes, which a caller can't choose part by part; the
        # comparison that decides takes the same time wherever they differ.
        if caller is None or not hmac.compare_digest(caller.digest or "", digest):
            return UNKNOWN
        return EXPIRED if self._is_over(caller) else caller

    def holds(self, caller: Caller) -> bool:
        """Return whether this caller's token still gives the same rights.

        After a rotation with a grace it does so until the former text ends.
        """
        if caller.digest is None:
            return True
        present = self._callers.get(caller.digest)
        if present is None or self._is_over(present):
            return False
        return replace(present, expires_at=caller.expires_at) == caller

    def all(self) -> dict[str, tuple[Token, int]]:
        """Return every token with the revision of its record, by name."""
        return dict(sorted(self._tokens.items()))

    def listen(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` after every change, in the thread that applies it."""
        self._listeners.append(listener)

    def changed(self, key: str, value: bytes | None, revision: int) -> None:
        """Apply one record: written, or deleted if ``value`` is None."""
        tokens = dict(self._tokens)
        tokens.pop(documents.token_name(key), None)
        if value is not None:
            tokens |= _read([Record(key, value, revision)])
        self.replace(tokens)

    def loaded(self, records: list[Record]) -> None:
        """Replace all tokens by those of ``records``."""
        self.replace(_read(records))

    def replace(self, tokens: dict[str, tuple[Token, int]]) -> None:
        """Replace all tokens."""
        self._tokens = tokens
        self._callers = {
            caller.digest: caller
            for token, _ in tokens.values()
            for caller in _callers(token, self.namespace)
            if caller.digest is not None
        }
        for listener in self._listeners:
            listener()

    def _is_over(self, caller: Caller) -> bool:
        ends = caller.expires_at
        return ends is not None and self._clock.now() >= ends


class NamespaceTokens(TokenView):
    """The tokens of a namespace; admins of the default one count in it as well."""

    def __init__(self, clock: Clock, namespace: str, whole: TokenView) -> None:
        super().__init__(clock, namespace)
        self._whole = whole

    def caller(self, text: str) -> Caller:
        caller = super().caller(text)
        if caller is not UNKNOWN:
            return caller
        admin = self._whole.caller(text)
        return admin if admin.is_admin else ELSEWHERE

    def holds(self, caller: Caller) -> bool:
        is_own = caller.namespace == self.namespace
        return super().holds(caller) if is_own else self._whole.holds(caller)

    def listen(self, listener: Callable[[], None]) -> None:
        super().listen(listener)
        self._whole.listen(listener)


def _callers(token: Token, namespace: str) -> Iterable[Caller]:
    yield Caller.of(token, token.digest, token.expires_at, namespace)
    if token.former is not None and token.former_until is not None:
        ends = token.former_until
        if token.expires_at is not None:
            ends = min(ends, token.expires_at)
        yield Caller.of(token, token.former, ends, namespace)


def _read(records: list[Record]) -> dict[str, tuple[Token, int]]:
    tokens: dict[str, tuple[Token, int]] = {}
    for record in records:
        try:
            token = documents.decode_token(record.key, record.value)
        except StoreCorrupt as error:
            # Only the caller who holds this one is refused.
            log.error("unreadable token: %s", error.detail)
            continue
        tokens[token.name] = token, record.revision
    return tokens
