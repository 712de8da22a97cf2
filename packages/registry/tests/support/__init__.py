"""What the tests share: programs, servers, harnesses."""

from pathlib import Path

SUPPORT = Path(__file__).parent
TESTS = SUPPORT.parent
PROGRAMS = SUPPORT / "programs"
REGISTRY = SUPPORT.parents[1]
REPOSITORY = SUPPORT.parents[3]
