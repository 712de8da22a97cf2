"""A registry with tokens, and the command line with one of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from click.testing import Result

from support.cli import Served, run
from support.registry import eventually


@contextmanager
def closed(folder: Path, **settings: Any) -> Iterator[tuple[Served, str]]:
    """A registry with tokens in a store, and the text of an admin's."""
    store = f"sqlite:///{folder / 'registry.db'}"
    registry = Served(auth=True, store=store, **settings)
    try:
        made = run("token", "create", "boss", "--right", "admin", "--store", store)
        assert made.exit_code == 0, made.stderr
        boss = made.stdout.strip()
        # The one that the registry has made by itself.
        gone = run("token", "revoke", "admin", "--store", store)
        assert gone.exit_code == 0, gone.stderr
        eventually(lambda: asked(registry, boss, "whoami").exit_code == 0)
        yield registry, boss
    finally:
        registry.kill()


def asked(registry: Served, token: str, *arguments: str) -> Result:
    """Run one of the commands about tokens with this one."""
    return as_(registry, token, "token", *arguments)


def as_(registry: Served, token: str, *arguments: str) -> Result:
    return run(*arguments, REGISTRY_URL=registry.url, REGISTRY_TOKEN=token)
