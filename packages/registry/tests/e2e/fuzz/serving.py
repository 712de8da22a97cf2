"""The registry that is called: its process, and whether it is still right."""

import http.client
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from e2e.fuzz.request import OWNER_KEY

_HOST = "127.0.0.1"
_HEADERS = {"Content-Type": "application/json", "X-Owner-Key": OWNER_KEY.decode()}
_PAGE = os.sysconf("SC_PAGE_SIZE")


def resident(pid: int) -> int:
    """Return the bytes of memory that the process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE


def open_files(pid: int) -> int:
    """Return how many files and connections the process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def call(
    port: int, method: str, path: str, body: Mapping[str, Any] | None = None
) -> tuple[int, Any]:
    """Return status and JSON of one plain call."""
    line = http.client.HTTPConnection(_HOST, port, timeout=10)
    try:
        raw = None if body is None else json.dumps(body)
        line.request(method, path, raw, _HEADERS)
        response = line.getresponse()
        return response.status, json.loads(response.read())
    finally:
        line.close()


def clear(port: int) -> None:
    """Unregister all, so that what is left is what calls leave behind.

    Somebody's may stay, when even the key of its owner was garbled.
    """
    _, listed = call(port, "GET", "/api/services")
    for service in listed["services"]:
        status, _ = call(port, "DELETE", f"/api/services/{service['id']}")
        assert status in (200, 403, 409), service


def still_right(port: int) -> str | None:
    """Return what is wrong with the answers to plain calls; None when nothing is."""
    body = {
        "id": "after-all",
        "name": "After all",
        "capabilities": ["afterwards"],
        "location": "here",
        "mode": "embedded",
    }
    steps = (
        ("POST", "/api/register", body, 201, "service_id", "after-all"),
        ("GET", "/api/capabilities/afterwards", None, 200, "id", "after-all"),
        ("GET", "/api/services/after-all", None, 200, "name", "After all"),
        ("GET", "/api/services?name=After+all", None, 200, "count", 1),
        ("POST", "/api/heartbeat/after-all", None, 200, "status", "ok"),
        ("DELETE", "/api/services/after-all", None, 200, "status", "unregistered"),
        ("GET", "/api/services/after-all", None, 404, "code", "service_not_found"),
        ("GET", "/health", None, 200, "status", "healthy"),
    )
    for method, path, sent, status, field, value in steps:
        got, said = call(port, method, path, sent)
        if (got, said.get(field)) != (status, value):
            return f"{method} {path}: {got} {said}"
    return None
