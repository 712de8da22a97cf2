"""Completes the metadata of the package when it is built: what depends on its home.

Set ``MODULARITY_HOME`` to the address of the repository on its code host, and
``MODULARITY_CONTACT`` to the maintainers' email address. The README's links to other
files then lead to the repository. Without it they become plain text, since no such
file is beside the README of an installed package.
"""

import os
import posixpath
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

LINK = re.compile(r"\[([^\]]*)\]\((?!https?:|#)([^)]*)\)")


class Metadata(MetadataHookInterface):
    """Sets the fields that `pyproject.toml` calls dynamic, but for the version."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Add ``readme``, ``authors`` and ``urls``."""
        home = os.environ.get("MODULARITY_HOME", "").rstrip("/")
        folder = "packages/" + metadata["name"].removeprefix("modularity-")

        def absolute(link: re.Match[str]) -> str:
            text, target = link.groups()
            path = posixpath.normpath(f"{folder}/{target}")
            return f"[{text}]({home}/blob/main/{path})" if home else text

        readme = Path(self.root, "README.md").read_text("utf-8")
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": LINK.sub(absolute, readme),
        }
        author = {"name": "Modularity Registry contributors"}
        if contact := os.environ.get("MODULARITY_CONTACT"):
            author["email"] = contact
        metadata["authors"] = [author]
        pages = {
            "Homepage": "",
            "Documentation": "/blob/main/docs/README.md",
            "Changelog": "/blob/main/CHANGELOG.md",
            "Issues": "/issues",
        }
        metadata["urls"] = {name: home + path for name, path in pages.items() if home}
