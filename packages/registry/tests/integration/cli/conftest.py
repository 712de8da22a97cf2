"""A registry for the commands; a test that wants another one has its own."""

from collections.abc import Iterator

import pytest

from support.cli import Served


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """Yield a registry without services."""
    registry = Served()
    try:
        yield registry
    finally:
        registry.kill()
