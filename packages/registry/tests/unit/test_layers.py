"""Modules import only what stands before them."""

import ast
from pathlib import Path

import modularity_registry

ROOT = Path(modularity_registry.__file__).parent

# From the ground up. A package counts as one.
LAYERS = (
    "errors", "clock", "model", "network", "stores", "schema", "telemetry", "config",
    "ratelimit", "catalog", "events", "replicas", "tokens", "dns", "audit", "writes",
    "health", "runtime", "transfer", "serving", "api", "serve", "cli",
)  # fmt: skip
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
    assert names - {"__init__"} == {*LAYERS}


def test_imports_point_downwards() -> None:
    wrong = []
    for path in ROOT.rglob("*.py"):
        name = path.relative_to(ROOT).parts[0].removesuffix(".py")
        if name == "__init__" or path.parent == CONFORMANCE:
            continue
        allowed = LAYERS[: LAYERS.index(name) + 1]
        wrong += [(name, other) for other in imported(path) if other not in allowed]
    assert wrong == []


def test_a_store_knows_nothing_of_services() -> None:
    for path in (ROOT / "stores").rglob("*.py"):
        if path.parent != CONFORMANCE:
            assert imported(path) <= {"errors", "stores"}, path.name
