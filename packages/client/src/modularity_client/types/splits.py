"""Replies about traffic splits, as frozen values. As in `services`."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

from modularity_client.types.services import Json


@dataclass(frozen=True, slots=True)
class Split:
    """How the calls of a capability are split: the weight of each group."""

    capability: str
    groups: dict[str, int] = field(hash=False)
    revision: int


@dataclass(frozen=True, slots=True)
class SplitList:
    """Splits by capability; ``next`` is the cursor of the next page."""

    splits: tuple[Split, ...]
    revision: int
    next: str | None = None

    def __iter__(self) -> Iterator[Split]:
        return iter(self.splits)

    def __len__(self) -> int:
        return len(self.splits)

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """Return the list of a reply."""
        splits = tuple(
            Split(row["capability"], dict(row["split"]), int(row["revision"]))
            for row in data["splits"]
        )
        return cls(splits, int(data["revision"]), data.get("next"))


@dataclass(frozen=True, slots=True)
class SplitChanged:
    """A split was set (``status`` is ``split``) or has ``ended``.

    ``revision`` is None when the reply to the call that ended it was lost.
    """

    capability: str
    status: str
    groups: dict[str, int] = field(hash=False)
    revision: int | None
    message: str

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """Return the change of a reply."""
        return cls(
            data["capability"],
            data["status"],
            dict(data["split"]),
            int(data["revision"]),
            data["message"],
        )
