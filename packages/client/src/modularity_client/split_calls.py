"""The calls about traffic splits. As in `calls`."""

from collections.abc import Mapping
from typing import Any

from modularity_client.http.call import (
    Call,
    Reply,
    arguments,
    call_with_body,
    capability_path,
    if_match,
    parser_of,
)
from modularity_client.types.splits import SplitChanged, SplitList


def split(name: str, /) -> Call[dict[str, int]]:
    """Read the weight of each group of a capability's providers.

    Raises `SplitNotFound` if its calls are not split.
    """

    def parse(data: Any, _: Reply) -> dict[str, int]:
        return {str(group): int(weight) for group, weight in data.items()}

    return Call("GET", f"{capability_path(name)}/split", parse)


def set_split(
    name: str,
    /,
    groups: Mapping[str, int],
    *,
    revision: int | None = None,
    only_new: bool = False,
) -> Call[SplitChanged]:
    """Split the calls of a capability among groups of its providers.

    A group's name is a value of ``metadata["tag"]``, or a version or its first parts.
    With ``revision``, replaces only the split of that revision; with ``only_new``,
    none; else raises `RevisionMismatch`. Needs the right ``admin``.
    """
    headers = if_match(revision) | ({"If-None-Match": "*"} if only_new else {})
    return call_with_body(
        "PUT",
        f"{capability_path(name)}/split",
        groups,
        parser_of(SplitChanged),
        headers,
        repeat=not headers,
    )


def end_split(name: str, /, *, revision: int | None = None) -> Call[SplitChanged]:
    """Split the calls of a capability no more; the result has what the split was.

    Raises `SplitNotFound`, but not if a retry after a lost reply finds it gone. Needs
    the right ``admin``.
    """
    message = f"The calls of {name!r} are no longer split"
    return Call(
        "DELETE",
        f"{capability_path(name)}/split",
        parser_of(SplitChanged),
        headers=if_match(revision),
        gone=SplitChanged(name, "ended", {}, None, message),
    )


def splits(*, limit: int | None = None, cursor: str | None = None) -> Call[SplitList]:
    """List the capabilities whose calls are split, by name, in pages as `services`."""
    query = arguments(limit=limit, cursor=cursor)
    return Call("GET", "/api/splits", parser_of(SplitList), query)
