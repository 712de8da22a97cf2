"""Texts of others, as they are printed for people."""

import pytest

from modularity_registry.model.printable import printable

INVISIBLE = (
    *(chr(code) for code in range(0x20)),
    *(chr(code) for code in range(0x7F, 0xA0)),
    *(chr(code) for code in range(0x200B, 0x2010)),
    *(chr(code) for code in range(0x202A, 0x202F)),
    *(chr(code) for code in range(0x2060, 0x2070)),
    *("\u00ad", "\u061c", "\u2028", "\u2029", "\ufeff", "\ufff9", "\ue000"),
    *("\U000e0041", "\ud800"),
)
"""Controls, marks of direction, characters without width, and line ends."""


@pytest.mark.parametrize("char", INVISIBLE, ids=lambda char: f"U+{ord(char):04X}")
def test_what_nobody_sees_is_escaped(char: str) -> None:
    shown = printable(f"safe{char}gnp.exe")
    assert shown.isprintable()
    assert shown.encode().decode("unicode_escape") == f"safe{char}gnp.exe"


@pytest.mark.parametrize(
    "text", ["", "plain", "a b", "é ü ß", "日本語", "עברית", "العربية", "🙂", "a\\nb"]
)
def test_what_people_write_stays(text: str) -> None:
    assert printable(text) == text
