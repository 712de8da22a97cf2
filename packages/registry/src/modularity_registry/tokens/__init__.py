"""Tokens: how they are issued, verified and kept."""

from modularity_registry.tokens.document import issued_document, token_document
from modularity_registry.tokens.file_backend import FileTokenBackend, TokenFileWatcher
from modularity_registry.tokens.issue import Issued, create, first, revoke, rotate
from modularity_registry.tokens.store_backend import (
    RegistryTokenBackend,
    StoreTokenBackend,
    TokenBackend,
)
from modularity_registry.tokens.verify import ELSEWHERE, NamespaceTokens, TokenView

__all__ = [
    "ELSEWHERE",
    "FileTokenBackend",
    "Issued",
    "NamespaceTokens",
    "RegistryTokenBackend",
    "StoreTokenBackend",
    "TokenBackend",
    "TokenFileWatcher",
    "TokenView",
    "create",
    "first",
    "issued_document",
    "revoke",
    "rotate",
    "token_document",
]
