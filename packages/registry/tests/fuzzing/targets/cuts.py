"""Cuts inputs into the parts in which they arrive."""

import random
from itertools import pairwise

SHORT = 200
"""Bytes up to which an input may be given byte by byte."""


def parts_of(data: bytes) -> list[bytes]:
    """Return ``data`` without its first byte, in parts that this byte decides.

    It is every fourth that gives a short input byte by byte.
    """
    way, text = data[0] if data else 0, data[1:]
    if way % 4 == 0 and len(text) <= SHORT:
        return [text[at : at + 1] for at in range(len(text))]
    rng = random.Random(way)
    ends = sorted(rng.randrange(len(text) + 1) for _ in range(rng.randrange(1, 6)))
    return [text[start:end] for start, end in pairwise([0, *ends, len(text)])]
