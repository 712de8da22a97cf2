"""Tokens: who has which, how they are made, where they are kept."""

from modularity_registry.tokens.file import FileShelf, Follower
from modularity_registry.tokens.issuing import (
    Issued,
    create,
    first,
    revoke,
    rotate,
)
from modularity_registry.tokens.shelves import RunningShelf, Shelf, StoreShelf
from modularity_registry.tokens.shown import shown, shown_once
from modularity_registry.tokens.view import Tokens

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
