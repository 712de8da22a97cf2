"""Tables in Markdown, and pages with parts that are written by a program."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def fill(page: Path, parts: Mapping[str, str]) -> None:
    """Replace what stands between a pair of comments, for each part.

    Raises `ValueError` when the page does not have the comments of a part.
    """
    text = page.read_text()
    for name, part in parts.items():
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        before, _, rest = text.partition(begin)
        _, found, after = rest.partition(end)
        if not found:
            raise ValueError(f"{page} has no {begin} … {end}")
        text = f"{before}{begin}\n{part}\n{end}{after}"
    page.write_text(text)
