"""Markdown for the pages of the reference."""

import inspect
from collections.abc import Iterable, Sequence

WIDE = """---
hide:
  - toc
---
"""
"""The head of a page that is one table: it gets the place of the table of contents."""


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; its cells may hold Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(map(_cell, cells))} |\n" for cells in lines)


def code(text: object) -> str:
    """Return a text as code, or nothing for an empty one."""
    return f"`{text}`" if str(text) else ""


def plain(text: str) -> str:
    """Return a text in which nothing is taken for HTML."""
    return text.replace("<", "&lt;")


def sentence(text: str) -> str:
    """Return a text that begins with a capital and ends with a full stop."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}." if text else ""


def docstring(documented: object) -> str:
    """Return what an object's docstring says; it is Markdown already."""
    return inspect.getdoc(documented) or ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
