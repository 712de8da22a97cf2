"""Every command that prints texts of others, and the log, escape what nobody sees."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from support import TESTS
from support.cli import Served, Stub, Terminal, environ, run
from support.registry import eventually

# It reads "safeexe.png" where the marks are not escaped; and it hides, and it rings.
FORGED = "safe\u202egnp.exe\u202c\u2066\u2069\u200b\u200f\u2028\ufeff\x9b2Jx"
ESCAPED = "safe\\u202egnp.exe\\u202c\\u2066\\u2069\\u200b\\u200f\\u2028\\ufeff\\x9b2Jx"


MOMENT = "2026-01-01T00:00:00.000000Z"


def is_clean(text: str) -> bool:
    return all(line.isprintable() for line in text.split("\n"))


def service() -> dict[str, Any]:
    """A service of a registry whose every text is forged."""
    fault = {"source": FORGED, "reason": FORGED, "at": MOMENT}
    return {
        "id": FORGED,
        "name": FORGED,
        "version": FORGED,
        "capabilities": [FORGED],
        "location": FORGED,
        "mode": "http",
        "metadata": {FORGED: FORGED, "deep": {FORGED: [FORGED]}},
        "weight": 1,
        "ttl": None,
        "health": {"path": FORGED, "interval": 1.0, "timeout": 1.0},
        "owner": FORGED,
        "revision": 1,
        "status": "healthy",
        "registered_at": MOMENT,
        "last_seen": MOMENT,
        "failed_checks": 1,
        "evidence": {
            "since": MOMENT,
            "faults": [fault],
            "drain": {"reason": FORGED, "at": MOMENT},
            "checked_at": MOMENT,
            "checked_by": FORGED,
            "outcome": FORGED,
            "message": FORGED,
            "latency_ms": 1.0,
            "next_check": MOMENT,
        },
    }


def call() -> dict[str, Any]:
    return {
        "provider_id": FORGED,
        "provider_name": FORGED,
        "consumer_name": FORGED,
        "consumer_id": FORGED,
        "capability": FORGED,
        "request_count": 1,
        "first_seen": MOMENT,
        "success_rate": 1.0,
        "avg_latency_ms": 1.0,
        "last_seen": MOMENT,
    }


REPLICA = {
    "id": FORGED,
    "state": "lost",
    "seen": 1.0,
    "host": FORGED,
    "version": FORGED,
    "started_at": MOMENT,
    "self": False,
}
STATS = {
    "total_services": 1,
    "active_services": 1,
    "inactive_services": 0,
    "total_capabilities": 1,
    "services_by_runtime": {FORGED: 1},
    "services_by_status": {FORGED: 1},
    "services_by_mode": {FORGED: 1},
    "checks": {"watched": 1, "succeeded": 1, "failed": 0},
    "watchers": 0,
    "replica": FORGED,
    "replicas": [REPLICA],
    "uptime_seconds": 1.0,
    "revision": 1,
}
NODE = {"id": FORGED, "name": FORGED, "registered": True, "status": "healthy"}
EDGE = {
    "from": FORGED,
    "to": FORGED,
    "capability": FORGED,
    "weight": 1,
    "success_rate": 1.0,
    "avg_latency_ms": 1.0,
}
TOKEN = {
    "name": FORGED,
    "rights": [FORGED],
    "ids": [FORGED],
    "capabilities": [FORGED],
    "created_at": MOMENT,
    "expires_at": MOMENT,
    "former_until": MOMENT,
}


@pytest.fixture(scope="module")
def liar() -> Iterator[Stub]:
    connections: dict[str, Any] = {"service_id": "a", "service_name": FORGED}
    connections |= {"providing": [call()], "consuming": [call()]}
    stub = Stub(
        {
            "/api/services": {"services": [service()], "total": 1, "revision": 1},
            "/api/services/a": service(),
            "/api/connections/a": connections,
            "/api/stats": STATS,
            "/api/graph": {"nodes": [NODE], "edges": [EDGE]},
            "/api/tokens": {"tokens": [TOKEN], "total": 1},
            "/health": {
                "status": "degraded",
                "service": "modularity-registry",
                "reasons": [FORGED],
                "warnings": [FORGED],
                "version": FORGED,
                "store": FORGED,
                "timestamp": MOMENT,
                "revision": 1,
                "replicas": [REPLICA],
            },
        }
    )
    try:
        yield stub
    finally:
        stub.close()


@pytest.mark.parametrize(
    "command", ["ls", "info a", "stats", "graph", "token list", "doctor"]
)
def test_command_escapes_whatever_a_registry_answers(liar: Stub, command: str) -> None:
    result = run(*command.split(), REGISTRY_URL=liar.url)
    assert ESCAPED in result.output, result.output
    assert is_clean(result.output)


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    registry = Served(log_level="debug")
    registry.register("a", metadata={"note": FORGED}, location=f"worker {FORGED}")
    registry.register("b")
    try:
        yield registry
    finally:
        registry.kill()


@pytest.mark.parametrize(
    "command",
    ["find greet --metadata note", "discover greet", "explain greet", "ls", "info a"],
)
def test_command_escapes_what_a_service_has_registered(
    served: Served, command: str
) -> None:
    words = [f"{w}={FORGED}" if w == "note" else w for w in command.split()]
    result = served.run(*words)
    assert result.exit_code == 0, result.output
    assert ESCAPED in result.output or "explain" in command
    assert is_clean(result.output)
    raw = served.run(*words, "--json").stdout
    assert FORGED in json.dumps(json.loads(raw), ensure_ascii=False)[:99_999] or (
        "explain" in command
    )


def test_watch_escapes_in_lines_and_on_a_terminal(served: Served) -> None:
    command = [sys.executable, "-m", "support.programs.cli", "watch"]
    command += ["--url", served.url]
    env = environ(PYTHONPATH=str(TESTS))
    terminal = Terminal("watch", "--url", served.url, columns=300)
    lines = subprocess.Popen(command, stdout=subprocess.PIPE, env=env)
    assert lines.stdout is not None
    begin = ESCAPED[:14]  # a narrow terminal folds the rest
    try:
        terminal.shows("live", begin)
        eventually(lambda: served.get("/api/stats")["watchers"] == 2)
        served.register("c", location=f"worker {FORGED}")
        served.run("drain", "c", "--reason", FORGED)
        told = [lines.stdout.readline().decode() for _ in range(3)]
        assert ["connected" in told[0], *(ESCAPED in each for each in told[1:])] == [
            True
        ] * 3
        assert all(map(is_clean, told))
        terminal.shows("c healthy -> draining", begin)
        assert not any(char in terminal.frame() for char in "\u202e\u2066\u200b\ufeff")
    finally:
        lines.kill()
        lines.communicate()
        terminal.close()


def test_audit_escapes_in_its_lines(tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    registry = Served(audit_file=str(file))
    try:
        registry.register("a", location=f"worker {FORGED}")
        registry.run("drain", "a", "--reason", FORGED)
        body = {"status": "unhealthy", "message": FORGED}
        url = f"{registry.url}/api/heartbeat/a"
        requests.post(url, json=body, timeout=5)
        eventually(lambda: file.exists() and file.read_text().count("\n") >= 3)
        result = run("audit", "--file", str(file))
        assert result.output.count(ESCAPED) >= 2, result.output
        assert is_clean(result.output)
    finally:
        registry.kill()


def test_error_of_a_registry_is_one_clean_line(served: Served) -> None:
    result = served.run("unregister", f"nobody{FORGED}")
    assert result.exit_code != 0
    assert is_clean(result.output.rstrip("\n"))
