"""Copies pages, and all files that they link to, as far as links lead.

The copy is laid out as the repository, so links work in both without a change. Two
kinds can't: a link to a file that is no page gets a page that shows the file, and a
link to a folder becomes plain text.
"""

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

_FENCE = re.compile(r"^ *```")
_LINK = re.compile(r"(?P<text>!?\[[^\]]*\])\((?P<target>[^()\s#]+)(?:#[^()\s]*)?\)")
_IN_HTML = re.compile(r'(?:src|srcset)="([^"]+)"')
_PICTURE = re.compile(
    r'<picture>\s*<source media="\(prefers-color-scheme: dark\)" srcset="([^"]+)">'
    r'\s*<img src="([^"]+)" alt="([^"]*)">\s*</picture>'
)
_ELSEWHERE = re.compile(r"[a-z]+:")
_IMAGES = (".png", ".svg")
_LANGUAGES = {
    ".conf": "nginx",
    ".json": "json",
    ".py": "python",
    ".service": "ini",
    ".toml": "toml",
    ".yml": "yaml",
}


class BrokenLink(Exception):
    """A page links to a file that does not exist."""


def copy_linked_files(root: Path, first: Sequence[str], to: Path) -> None:
    """Copy the ``first`` pages of ``root`` and all that they lead to.

    Raises `BrokenLink`.
    """
    paths = list(first)
    for path in paths:  # which grows meanwhile
        target = to / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.endswith(_IMAGES):
            shutil.copy(root / path, target)
        elif path.endswith(".md"):
            page = _Page(root, path)
            target.write_text(page.markdown())
            paths += (each for each in page.linked if each not in paths)
        else:
            target.with_name(f"{target.name}.md").write_text(_shown(root, path))


class _Page:
    """A page of the repository; ``linked`` are the files that its links lead to."""

    def __init__(self, root: Path, path: str) -> None:
        self._root = root
        self._path = path
        self.linked: dict[str, None] = {}

    def markdown(self) -> str:
        """Return its text for the site."""
        text = "\n".join(self._lines())
        # The site has a switch for its colours, which a `<picture>` does not see.
        return _PICTURE.sub(
            r'<img src="\2#only-light" alt="\3"><img src="\1#only-dark" alt="\3">', text
        )

    def _lines(self) -> Iterator[str]:
        inside_code = False
        for line in (self._root / self._path).read_text().splitlines():
            if _FENCE.match(line):
                inside_code = not inside_code
            elif not inside_code:
                for target in _IN_HTML.findall(line):
                    self._follow(target)
                line = _LINK.sub(self._linked, line)
            yield line

    def _linked(self, link: re.Match[str]) -> str:
        target = link["target"]
        if _ELSEWHERE.match(target):
            return link[0]
        path = self._follow(target)
        if (self._root / path).is_dir():
            return link["text"].strip("[]")
        if path.endswith((".md", *_IMAGES)):
            return link[0]
        return f"{link['text']}({target}.md)"

    def _follow(self, target: str) -> str:
        path = os.path.normpath(os.path.join(os.path.dirname(self._path), target))
        file = self._root / path
        if not file.exists() or path.startswith(".."):
            raise BrokenLink(f"{self._path} links to {target}, which does not exist")
        if file.is_file():
            self.linked[path] = None
        return path


def _shown(root: Path, path: str) -> str:
    """Return a page that shows a file, and which the search leaves out."""
    file = root / path
    language = _LANGUAGES.get(file.suffix, "text")
    return (
        f"---\nsearch:\n  exclude: true\n---\n\n# {file.name}\n\n"
        f"This is `{path}` in the repository.\n\n"
        f"`````{language}\n{file.read_text()}`````\n"
    )
