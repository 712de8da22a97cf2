"""Packages of npm, each installed once into a folder of its own."""

import os
import subprocess
from pathlib import Path

import pytest
from filelock import FileLock

from support.servers.program import find


def node() -> Path:
    """Return the program; skips where there is none."""
    return find(["node"], None, "nodejs")


def package(name: str, version: str) -> Path:
    """Return where a package is, with what it needs; skips where it can't be had."""
    npm = find(["npm"], None, "npm")
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = caches / "modularity-tests" / f"{name}-{version}"
    folder.mkdir(parents=True, exist_ok=True)
    installed = folder / "node_modules" / name
    complete = folder / "complete"
    with FileLock(folder / "lock"):
        if not complete.exists():
            command = [npm, "install", "--prefix", folder, "--no-audit", "--no-fund"]
            result = subprocess.run(
                [*map(str, command), f"{name}@{version}"],
                capture_output=True,
                text=True,
                timeout=120,
            )
            if result.returncode:
                pytest.skip(f"npm can't install {name}: {result.stderr[-300:]}")
            complete.touch()
    return installed
