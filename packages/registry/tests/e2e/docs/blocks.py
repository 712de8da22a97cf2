"""Reads Markdown as far as the tests of the documents need it."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\S*)[^\S\n]*$")
_LINK = re.compile(r"!?\[[^\]]*\]\((?P<target>[^()\s]+)(?: \"[^\"]*\")?\)")
_HEADING = re.compile(r"^#{1,6} +(?P<title>.+?) *#*$", re.MULTILINE)
_CODE = re.compile(r"`[^`\n]+`")

SHELL = ("sh", "bash")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block; ``line`` is where its text begins."""

    language: str
    text: str
    line: int


def blocks(markdown: str) -> list[Block]:
    """Return all fenced blocks in order; a fence that never ends is an error."""
    found: list[Block] = []
    begun: tuple[str, str, int] | None = None
    lines: list[str] = []
    for number, line in enumerate(markdown.splitlines(), start=1):
        fence = _FENCE.match(line)
        if begun is None:
            if fence is not None:
                begun = fence["indent"], fence["language"], number + 1
                lines = []
        elif line.strip() == "```":
            indent, language, start = begun
            text = "\n".join(each.removeprefix(indent) for each in lines)
            found.append(Block(language, text + "\n", start))
            begun = None
        else:
            lines.append(line)
    assert begun is None, f"the fence of line {begun and begun[2] - 1} never ends"
    return found


def prose(markdown: str) -> str:
    """Return the text without its fenced blocks."""
    kept = []
    inside = False
    for line in markdown.splitlines():
        if _FENCE.match(line) or (inside and line.strip() == "```"):
            inside = not inside
        elif not inside:
            kept.append(line)
    return "\n".join(kept)


def commands(text: str) -> list[str]:
    """Split a shell block into its commands: one a line, unless a quote goes on."""
    found: list[str] = []
    begun = ""
    for line in text.splitlines():
        begun = f"{begun}\n{line}" if begun else line
        if begun.endswith("\\") or not _balanced(begun):
            continue
        if begun.strip() and not begun.lstrip().startswith("#"):
            found.append(begun)
        begun = ""
    assert not begun, f"this command never ends: {begun}"
    return found


def _balanced(text: str) -> bool:
    try:
        shlex.split(text, comments=True)
    except ValueError:
        return False
    return True


def links(markdown: str) -> list[str]:
    """Return the targets of all links, images as well, outside of code."""
    return [match["target"] for match in _LINK.finditer(_CODE.sub("", prose(markdown)))]


def anchors(markdown: str) -> set[str]:
    """Return the names under which a page's headings can be linked to."""
    found: set[str] = set()
    for match in _HEADING.finditer(prose(markdown)):
        words = re.sub(r"[^\w\- ]", "", match["title"].lower()).replace(" ", "-")
        name, number = words, 0
        while name in found:
            number += 1
            name = f"{words}-{number}"
        found.add(name)
    return found


def table(markdown: str, heading: str) -> list[list[str]]:
    """Return the rows of the first table whose header begins with ``heading``."""
    rows: list[list[str]] = []
    for line in markdown.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if rows or (line.startswith("|") and cells[0] == heading):
            if not line.startswith("|"):
                break
            rows.append(cells)
    return rows[2:]


def markdown_files(root: Path) -> list[Path]:
    """Return the repository's documents, without what tools have put there."""
    found = []
    for path in sorted(root.rglob("*.md")):
        parts = path.relative_to(root).parts
        if not any(part.startswith(".") or part == "node_modules" for part in parts):
            found.append(path)
    return found
