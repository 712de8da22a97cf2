"""Where the parts of the repository are that the benchmarks use."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ROOT / "benchmarks" / "programs"
CLIENT_SOURCE = ROOT / "packages" / "client" / "src"
REGISTRY_SCRIPT = ROOT / "packages" / "registry" / "registry_service.py"
REGISTRY_TESTS = ROOT / "packages" / "registry" / "tests"
