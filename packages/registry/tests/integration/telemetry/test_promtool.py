"""Prometheus' own tool checks the metrics."""

import shutil
import subprocess

import pytest
from flask.testing import FlaskClient
from werkzeug.test import Client

from modularity_registry.api.app import create_app
from modularity_registry.runtime import Registry
from support.hot_path import HotPath
from support.registry import registration
from support.servers.program import missing


@pytest.fixture
def hot(registry: Registry) -> Client:
    return Client(HotPath(registry, create_app(registry)))


def register(client: Client | FlaskClient, service_id: str, **changes: object) -> None:
    body = registration(service_id, mode="standalone", location="here", **changes)
    assert client.post("/api/register", json=body).status_code in (200, 201)


def test_promtool_has_nothing_to_say(hot: Client) -> None:
    program = shutil.which("promtool")
    if program is None:
        missing("promtool", "prometheus")
    register(hot, "a")
    hot.get("/api/capabilities/greet")
    done = subprocess.run(
        [program, "check", "metrics"],
        input=hot.get("/metrics").data,
        capture_output=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
