"""Draws docs/images/architecture-*.svg from layers.toml.

uv run python docs/draw_architecture.py
"""

import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
LAYERS = DOCS / "layers.toml"
IMAGES = DOCS / "images"

WIDTH, MARGIN, LABEL = 860, 20, 90
BAND, GAP, BOX = 76, 14, 40
THEMES = {
    "light": {
        "page": "#ffffff", "band": "#f1f4f8", "box": "#ffffff", "line": "#c3ccd8",
        "text": "#1f2933", "muted": "#5b6875",
        "write": "#c2410c", "read": "#1d4ed8", "check": "#15803d",
    },
    "dark": {
        "page": "#0d1117", "band": "#161c26", "box": "#222b38", "line": "#3c4858",
        "text": "#e6edf3", "muted": "#9aa7b5",
        "write": "#fb923c", "read": "#7cb0ff", "check": "#4ade80",
    },
}  # fmt: skip
LEGEND = {
    "write": "a write, until it is in the view",
    "read": "what the view answers",
    "check": "checks, and their verdicts",
}

Point = tuple[float, float]


def _centres(layers: list[dict[str, Any]]) -> dict[str, Point]:
    """Return where the middle of each part's box is; the ground is at the bottom."""
    centres = {}
    inner = WIDTH - 2 * MARGIN - LABEL
    for row, layer in enumerate(reversed(layers)):
        parts = layer["parts"]
        step = inner / len(parts)
        y = MARGIN + row * (BAND + GAP) + BAND / 2
        for column, part in enumerate(parts):
            centres[part] = (MARGIN + LABEL + (column + 0.5) * step, y)
    return centres


def _arrow(start: Point, end: Point, kind: str, colour: str) -> str:
    """Return a curve from the edge of one box to the edge of another."""
    (x1, y1), (x2, y2) = start, end
    if y1 == y2:
        toward = 1 if x2 > x1 else -1
        x1, x2 = x1 + toward * 48, x2 - toward * 53
        path = f"M{x1:.0f} {y1:.0f} H{x2:.0f}"
    else:
        down = 1 if y2 > y1 else -1
        # Ways between the same two boxes run beside each other.
        shift = {"write": -14 if down > 0 else 4, "read": 14, "check": 0}[kind]
        x1, x2 = x1 + shift, x2 + shift
        y1, y2 = y1 + down * BOX / 2, y2 - down * (BOX / 2 + 5)
        half = (y1 + y2) / 2
        path = (
            f"M{x1:.0f} {y1:.0f} C{x1:.0f} {half:.0f} {x2:.0f} {half:.0f}"
            f" {x2:.0f} {y2:.0f}"
        )
    return (
        f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2"'
        f' marker-end="url(#{kind})"/>'
    )


def _elements(table: dict[str, Any], theme: dict[str, str]) -> Iterator[str]:
    layers = table["layer"]
    centres = _centres(layers)
    for kind in LEGEND:
        yield (
            f'<marker id="{kind}" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="6"'
            f' markerHeight="6" orient="auto"><path d="M0 0 L8 4 L0 8 z"'
            f' fill="{theme[kind]}"/></marker>'
        )
    for row, layer in enumerate(reversed(layers)):
        top = MARGIN + row * (BAND + GAP)
        yield (
            f'<rect x="{MARGIN}" y="{top}" width="{WIDTH - 2 * MARGIN}" height="{BAND}"'
            f' rx="8" fill="{theme["band"]}"/>'
        )
        yield (
            f'<text x="{MARGIN + 14}" y="{top + BAND / 2 + 5}" fill="{theme["muted"]}">'
            f"{layer['name']}</text>"
        )
    # Under the boxes, so that no way hides a name.
    for way in table["way"]:
        stops = way["stops"]
        for start, end in pairwise(stops):
            kind = way["kind"]
            yield _arrow(centres[start], centres[end], kind, theme[kind])
    for part, (x, y) in centres.items():
        yield (
            f'<rect x="{x - 48:.0f}" y="{y - BOX / 2:.0f}" width="96" height="{BOX}"'
            f' rx="6" fill="{theme["box"]}" stroke="{theme["line"]}"/>'
        )
        yield (
            f'<text x="{x:.0f}" y="{y + 5:.0f}" text-anchor="middle"'
            f' fill="{theme["text"]}">{part}</text>'
        )
    bottom = MARGIN + len(layers) * (BAND + GAP) + 12
    for column, (kind, meaning) in enumerate(LEGEND.items()):
        left = MARGIN + LABEL + column * 250
        line = f'd="M{left} {bottom} h26" stroke="{theme[kind]}" stroke-width="2"'
        yield f"<path {line}/>"
        yield (
            f'<text x="{left + 34}" y="{bottom + 5}" fill="{theme["muted"]}">'
            f"{meaning}</text>"
        )


def drawn(name: str) -> str:
    """Return the picture as SVG, in the theme ``name`` ("light" or "dark")."""
    table = tomllib.loads(LAYERS.read_text())
    theme = THEMES[name]
    height = MARGIN + len(table["layer"]) * (BAND + GAP) + 40
    body = "\n".join(_elements(table, theme))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"'
        ' font-family="system-ui, sans-serif" font-size="14">\n'
        f'<rect width="{WIDTH}" height="{height}" fill="{theme["page"]}"/>\n'
        f"{body}\n</svg>\n"
    )


def main() -> None:
    """Write both pictures."""
    for name in THEMES:
        (IMAGES / f"architecture-{name}.svg").write_text(drawn(name))


if __name__ == "__main__":
    main()
