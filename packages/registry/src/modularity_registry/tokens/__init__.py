"""Tokens: who has which, how they are made, where they are kept."""

from modularity_registry.tokens.document import shown, shown_once
from modularity_registry.tokens.file_backend import FileShelf, Follower
from modularity_registry.tokens.issue import Issued, create, first, revoke, rotate
from modularity_registry.tokens.store_backend import RunningShelf, Shelf, StoreShelf
from modularity_registry.tokens.verify import Tokens

__all__ = [
    "FileShelf",
    "Follower",
    "Issued",
    "RunningShelf",
    "Shelf",
    "StoreShelf",
    "Tokens",
    "create",
    "first",
    "revoke",
    "rotate",
    "shown",
    "shown_once",
]
