"""Texts of others, as they may be printed for people: none can look like another."""


def printable(text: str) -> str:
    """Return ``text`` in one line, with what is not printable as Python escapes it.

    That is what Unicode calls control, format, surrogate, private use, unassigned, and
    separators but the space: line ends, terminal sequences, marks that turn the
    direction of writing (U+202A-202E, U+2066-2069), characters without width (U+200B,
    U+FEFF). They can forge lines, move the cursor, or show one name as another.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode()
        for char in text
    )
