"""Configurations that pages of the documentation give, at the ports of a test."""

from collections.abc import Mapping

from e2e.docs.blocks import blocks
from e2e.docs.reader import ROOT

PAGES = ROOT / "docs" / "integrations"


def configuration(
    page: str, language: str, changes: Mapping[str, str | int], number: int = 0
) -> str:
    """Return a block of a page.

    ``changes`` replace what the page has, such as a port; each has to be there.
    """
    texts = [
        block.text
        for block in blocks((PAGES / page).read_text())
        if block.language == language
    ]
    text = texts[number]
    for written, value in changes.items():
        assert written in text, f"{page} has no {written}"
        text = text.replace(written, str(value))
    return text
