"""The registry of another commit, to be measured beside this one."""

import os
import subprocess
from pathlib import Path

from benchmarks.harness.paths import ROOT

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
# They would lead uv to the environment that this process runs in.
DROPPED = ("VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT")


def checkout(revision: str) -> Path:
    """Return a folder with the commit, named after it, and its environment in .venv.

    Raises `CalledProcessError` when there is no such commit or it can't be installed.
    """
    commit = _run(ROOT, "git", "rev-parse", "--verify", f"{revision}^{{commit}}")[:7]
    folder = CACHE / "modularity-bench" / commit
    if not folder.exists():
        add = ("worktree", "add", "--quiet", "--force", "--detach")
        _run(ROOT, "git", *add, str(folder), commit)
    _run(folder, "uv", "sync", "--quiet", "--no-dev")
    return folder


def _run(folder: Path, *command: str) -> str:
    env = {key: value for key, value in os.environ.items() if key not in DROPPED}
    run = subprocess.run(
        command, cwd=folder, env=env, stdout=subprocess.PIPE, text=True, check=True
    )
    return run.stdout.strip()
