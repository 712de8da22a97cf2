"""Where the parts of the repository are that the benchmarks use."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
IMAGES = DOCS / "images"
PROGRAMS = ROOT / "benchmarks" / "programs"
CLIENT_SOURCE = ROOT / "packages" / "client" / "src"
# Where it has been in every commit so far.
REGISTRY_SERVICE = Path("packages") / "registry" / "registry_service.py"
REGISTRY_SCRIPT = ROOT / REGISTRY_SERVICE
REGISTRY_TESTS = ROOT / "packages" / "registry" / "tests"
