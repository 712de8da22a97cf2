"""Some thousand spoiled requests to a real registry; the benchmark `fuzz` sends many.

`FUZZ_SEED` sends the same again, `FUZZ_CALLS` sends more.
"""

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from flask.testing import FlaskClient

from e2e.fuzz.caller import Caller, Findings, exchanges, seeds_of
from e2e.fuzz.cases import made_from_document
from e2e.fuzz.serving import clear, open_files, resident, still_right
from support import PROGRAMS
from support.registry import eventually, registration
from support.serving import HOST, free_port

SEED = int(os.environ.get("FUZZ_SEED", "20261124"))
CALLS = int(os.environ.get("FUZZ_CALLS", "3000"))
WARM = CALLS // 3
GROWTH = 24 << 20
"""Bytes that the second half may add to the process: caches fill up, to their ends."""


class Served:
    """A registry in a process of its own, with its log in a file."""

    def __init__(self, log: Path) -> None:
        self.port = free_port()
        self.log = log
        settings = {
            "port": self.port,
            "allowed_networks": "loopback",
            # What is registered is checked once and then left in peace.
            "health_check_interval": 3600.0,
        }
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, str(PROGRAMS / "registry.py"), json.dumps(settings)],
                stderr=file,
            )
        eventually(self._answers)

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            url = f"http://{HOST}:{self.port}/ready"
            return requests.get(url, timeout=5).status_code == 200
        except requests.ConnectionError:
            return False


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = Served(tmp_path_factory.mktemp("fuzz") / "log")
    try:
        yield served
    finally:
        served.process.terminate()
        served.process.wait(20)


def test_no_request_breaks_the_registry(served: Served) -> None:
    print(f"FUZZ_SEED={SEED}")
    rng = random.Random(SEED)
    source = exchanges(seeds_of(made_from_document(SEED, 3), rng), rng)
    worker = served.process.pid
    files = open_files(worker)
    caller = Caller(served.port)
    caller.send(source, WARM)
    clear(served.port)
    before = resident(worker)
    found = caller.send(source, CALLS - WARM)
    assert found.faults == []
    assert caller.repeat_late() == []
    clear(served.port)
    eventually(lambda: open_files(worker) <= files)
    assert resident(worker) - before < GROWTH
    assert_varied(found)
    assert served.process.poll() is None
    assert still_right(served.port) is None
    log = served.log.read_text()
    assert not any(word in log for word in ("Traceback", "panicked", " ERROR "))


def assert_varied(found: Findings) -> None:
    """The requests were not all turned away for one and the same reason."""
    assert found.calls >= CALLS
    assert {200, 400, 404, 405} <= set(found.statuses)
    assert found.cut < CALLS // 4


@pytest.mark.parametrize("operator", [">=", "==1.0.post", "!=1.", ">=1,<"])
def test_range_with_a_number_that_python_does_not_read_is_refused(
    client: FlaskClient, operator: str
) -> None:
    assert client.post("/api/register", json=registration()).status_code == 201
    query = {"version": operator + "9" * 5_000}
    for path in ("/api/services", "/api/capabilities/greet", "/api/graph"):
        reply = client.get(path, query_string=query)
        assert (reply.status_code, reply.get_json()["code"]) == (400, "invalid_request")
        assert reply.get_json()["errors"][0]["field"] == "version"
