"""Looks every locked package up among the known vulnerabilities, where that can be had.

Ends with 1 when a package has a vulnerability that a newer one does not have, or when
the lock holds what can't be verified; says so, and ends with 0, when no service with
vulnerabilities can be reached from here.
"""

import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Of one request; and of all.
PATIENCE = "5"
LIMIT = 300.0
# Asked about first: a service that knows this one knows the others.
PROBE = "flask"

Requirement = tuple[str, str]


def locked() -> tuple[list[Requirement], list[str]]:
    """Return what the lock holds of others, and what is wrong with its sources."""
    with (ROOT / "uv.lock").open("rb") as file:
        packages = tomllib.load(file)["package"]
    found, wrong = [], []
    for package in packages:
        source = package["source"]
        if {"editable", "virtual"} & source.keys():
            continue  # our own
        name = package["name"]
        found.append((name, package["version"]))
        if "registry" not in source:
            wrong.append(f"{name} does not come from the package index: {source}")
        files = [*package.get("wheels", ())]
        files += [package["sdist"]] if "sdist" in package else []
        if not files or any("sha256:" not in each.get("hash", "") for each in files):
            wrong.append(f"{name} has a file without a checksum")
    return found, wrong


def audited(service: str, packages: list[Requirement]) -> list[dict[str, object]]:
    """Return what the service knows of the packages; nothing when it can't be asked."""
    # A file of requirements has each name once; the lock may have one in two versions,
    # for two versions of Python.
    first = dict(packages)
    others = [each for each in packages if first[each[0]] != each[1]]
    found = _answers(service, list(first.items()))
    return found + (audited(service, others) if others else [])


def _answers(service: str, packages: list[Requirement]) -> list[dict[str, object]]:
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.writelines(f"{name}=={version}\n" for name, version in packages)
        file.flush()
        command = [sys.executable, "-m", "pip_audit", "--requirement", file.name]
        command += ["--no-deps", "--disable-pip", "--format", "json"]
        command += ["--vulnerability-service", service, "--timeout", PATIENCE]
        command += ["--progress-spinner", "off"]
        try:
            run = subprocess.run(
                command, capture_output=True, text=True, timeout=LIMIT, check=False
            )
            answers: list[dict[str, object]] = json.loads(run.stdout)["dependencies"]
        except (subprocess.TimeoutExpired, ValueError, KeyError):
            return []
    # Of a package that it does not know, it says so.
    return [each for each in answers if "skip_reason" not in each]


def main() -> int:
    """Return 0 unless there is something to repair."""
    packages, wrong = locked()
    print(f"{len(packages)} locked packages, each file by its checksum", flush=True)
    for line in wrong:
        print(line)
    probe = [each for each in packages if each[0] == PROBE]
    service = next((each for each in ("pypi", "osv") if audited(each, probe)), None)
    if service is None:
        print(
            "NOT LOOKED UP: no service with known vulnerabilities can be reached from"
            " here; run this where there is one"
        )
        return bool(wrong)
    known = audited(service, packages)
    print(f"{len(known)} of them looked up ({service})")
    for package in known:
        vulnerabilities = package["vulns"]
        assert isinstance(vulnerabilities, list)
        for each in vulnerabilities:
            fixed = ", ".join(each["fix_versions"])
            name = f"{package['name']} {package['version']}: {each['id']}"
            print(f"{name}, fixed in {fixed}" if fixed else f"{name}, not fixed yet")
            wrong += [name] if fixed else []
    return bool(wrong or not known)


if __name__ == "__main__":
    sys.exit(main())
