"""Texts as labels of host names, which hold nothing but a-z, 0-9 and -."""

import re

_NOT_IN_LABELS = re.compile(r"[^a-z0-9]+")


def label_of(text: str) -> str:
    """Return the text in lower case, with ``-`` for all else; of any length, or empty.

    Two texts may have the same label.
    """
    return _NOT_IN_LABELS.sub("-", text.lower()).strip("-")
