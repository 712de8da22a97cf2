"""Modules import only what stands before them."""

import ast
import importlib.util
import tomllib
from pathlib import Path

import modularity_registry
from support import REPOSITORY

ROOT = Path(modularity_registry.__file__).parent
DOCS = REPOSITORY / "docs"

# From the ground up. A package counts as one.
LAYERS = tuple(
    part
    for layer in tomllib.loads((DOCS / "layers.toml").read_text())["layer"]
    for part in layer["parts"]
)
CONFORMANCE = ROOT / "stores" / "conformance"


def imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "modularity_registry":
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            parts = node.module.split(".")
            if parts[0] == "modularity_registry":
                found.add(parts[1])
    return found - {"__version__"}


def test_every_module_has_its_layer() -> None:
    names = {path.stem for path in ROOT.glob("*.py")}
    names |= {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert names - {"__init__", "__main__"} == {*LAYERS}


def test_imports_point_downwards() -> None:
    wrong = []
    for path in ROOT.rglob("*.py"):
        name = path.relative_to(ROOT).parts[0].removesuffix(".py")
        if name in ("__init__", "__main__") or path.parent == CONFORMANCE:
            continue
        allowed = LAYERS[: LAYERS.index(name) + 1]
        wrong += [(name, other) for other in imported(path) if other not in allowed]
    assert wrong == []


def test_a_store_knows_nothing_of_services() -> None:
    for path in (ROOT / "stores").rglob("*.py"):
        if path.parent != CONFORMANCE:
            assert imported(path) <= {"errors", "stores"}, path.name


def test_the_picture_shows_the_layers_as_they_are() -> None:
    path = DOCS / "draw_architecture.py"
    spec = importlib.util.spec_from_file_location("draw_architecture", path)
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    for theme in script.THEMES:
        picture = (DOCS / "images" / f"architecture-{theme}.svg").read_text()
        assert script.drawn(theme) == picture, "run: uv run just docs"
