"""Clients of other registries that can't be imported here, each in a folder of its own.

They are installed once, into the user's cache.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from support.servers.program import missing

_SECONDS = 300


def cache() -> Path:
    """Return the folder for what tests install."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "modularity-tests"


def python_with(package: str) -> Path:
    """Return a Python that has this package, and nothing of the registry's."""
    folder = cache() / package.replace("==", "-")
    python = folder / "bin" / "python"
    if not python.exists():
        uv = shutil.which("uv") or missing("uv", "uv, which is on PyPI")
        _run(uv, "venv", "--quiet", "--python", sys.executable, str(folder))
        install = ("pip", "install", "--quiet", "--python", str(python), package)
        _run(uv, *install)
    return python


def node_modules(package: str) -> Path:
    """Return a folder with this npm package, to be the NODE_PATH of a program."""
    if shutil.which("node") is None:
        missing("node", "nodejs")
    folder = cache() / f"npm-{package.replace('@', '-')}"
    modules = folder / "node_modules"
    if not modules.exists():
        npm = shutil.which("npm") or missing("npm", "npm")
        folder.mkdir(parents=True, exist_ok=True)
        quiet = ("--no-audit", "--no-fund", "--silent")
        _run(npm, "install", "--prefix", str(folder), *quiet, package)
    return modules


def _run(*command: str) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    assert done.returncode == 0, (command, done.stdout, done.stderr)
