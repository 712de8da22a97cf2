"""The log of a registry, from its start to its end."""

import json
import logging
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import requests

from support.registry import eventually, registration
from support.serving import HOST, free_port

CHANGES = logging.getLogger("modularity_registry.changes")


def test_a_registry_logs_in_one_form_from_its_start_to_its_end(
    tmp_path: Path,
) -> None:
    port, told = free_port(), tmp_path / "log"
    command = [
        sys.executable,
        "-c",
        "from modularity_registry.cli.main import main; main()",
    ]
    command += ["serve", f"--port={port}", "--log-format=json", "--log-level=debug"]
    with told.open("w") as output:
        process = subprocess.Popen(command, stderr=output)
    try:

        def log() -> list[dict[str, Any]]:
            return [json.loads(line) for line in told.read_text().splitlines()]

        eventually(lambda: "listening at" in told.read_text())
        url = f"http://{HOST}:{port}"
        body = registration(mode="standalone")
        requests.post(f"{url}/api/register", json=body, timeout=10)
        requests.get(f"{url}/api/nothing", headers={"X-Request-ID": "n"}, timeout=10)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
    (started,) = (each for each in log() if each["event"] == "registry started")
    assert started["address"] == f"{HOST}:{port}"
    assert started["dashboard"] == f"http://{HOST}:{port}/"
    assert started["docs"] == f"http://{HOST}:{port}/docs"
    assert (started["store"], started["workers"]) == ("memory", 1)
    assert started["version"]
    (change,) = (each for each in log() if each["logger"] == CHANGES.name)
    assert (change["event"], change["peer"]) == ("service registered", HOST)
    assert change["replica"] == started["replica"]
    first, second = (each for each in log() if each["event"] == "request")
    assert first["request_id"] == change["request_id"]
    assert (first["method"], first["path"]) == ("POST", "/api/register")
    assert (second["status"], second["request_id"]) == (404, "n")
    assert second["duration_ms"] > 0
    assert second["bytes"] > 100


def test_a_registry_serves_and_stops_while_nobody_reads_its_log() -> None:
    port = free_port()
    command = [
        sys.executable,
        "-c",
        "from modularity_registry.cli.main import main; main()",
    ]
    command += ["serve", f"--port={port}", "--log-level=debug"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    log = process.stderr
    assert log is not None
    try:
        eventually(lambda: b"listening at" in log.readline())
        with requests.Session() as session:
            # More than any pipe holds.
            for _ in range(300):
                path = f"/api/services/{'x' * 5_000}"
                session.get(f"http://{HOST}:{port}{path}", timeout=10)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        log.close()
