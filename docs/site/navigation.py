"""The site's navigation: the lists in the README and in the documentation's index."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

INDEX = "docs/README.md"
HOME = "README.md"

Nav = list[Any]

_HEADING = re.compile(r"^## (.+)$")
_ITEM = re.compile(r"^(?:-|\| \d+ \|) \[([^\]]+)\]\(([^()\s]+)\)")


class NotListed(Exception):
    """A page that the documentation's index does not have."""


def read(root: Path, reference: Sequence[str]) -> Nav:
    """Return the tabs with their pages, the ``reference`` below *Look up*."""
    tabs = [{title: items} for title, items in _lists(root, INDEX) if items]
    for tab in tabs:
        if "Look up" in tab:
            tab["Look up"].append({"From the code": list(reference)})
    listed = set(_paths(tabs))
    more = dict(_lists(root, HOME))["Read on"]
    home = [item for item in more if listed.isdisjoint(_paths(item))]
    return [{"Home": [HOME, *home]}, *tabs]


def check(nav: Nav, pages: Sequence[str]) -> None:
    """Raise `NotListed` for a page that is not in the navigation."""
    listed = set(_paths(nav))
    for page in pages:
        if page not in listed:
            raise NotListed(f"{page} is not in {INDEX}: add it to a list there")


def _paths(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    else:
        for item in nav.values() if isinstance(nav, dict) else nav:
            yield from _paths(item)


def _lists(root: Path, page: str) -> Iterator[tuple[str, Nav]]:
    """Yield each heading of a page with the items below it."""
    title, items = "", Nav()
    for line in (root / page).read_text().splitlines():
        if heading := _HEADING.match(line):
            yield title, items
            title, items = heading[1], []
        # What a link with an anchor leads to is part of a page with a place of its own.
        elif (item := _ITEM.match(line)) and "#" not in item[2]:
            path = os.path.normpath(os.path.join(os.path.dirname(page), item[2]))
            items.append({item[1]: _with_children(root, path)})
    yield title, items


def _with_children(root: Path, path: str) -> Any:
    """Return a page, or the pages of a folder of the documentation."""
    is_folder = path.startswith("docs/") and path.endswith("/README.md")
    if path == INDEX or not is_folder:
        return path
    return [path, *(item for _, items in _lists(root, path) for item in items)]
