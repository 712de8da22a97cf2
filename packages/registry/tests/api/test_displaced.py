"""A registration that takes the id of a live provider at another location."""

import logging
from typing import Any

import pytest
from flask.testing import FlaskClient

from modularity_registry.model.service import Fault
from modularity_registry.runtime import Registry
from modularity_registry.telemetry.log_context import FIELDS
from support.registry import registration

FIRST, SECOND = "http://127.0.0.1:9001", "http://127.0.0.1:9002"


def register(client: FlaskClient, location: str, **changes: Any) -> Any:
    body = registration("a", location=location, **changes)
    response = client.post("/api/register", json=body)
    assert response.status_code in (200, 201), response.text
    return response.json


def test_who_takes_a_live_id_is_told_and_so_is_the_log(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    assert "displaced" not in register(client, FIRST, instance="x")
    reply = register(client, SECOND, instance="y")
    assert reply["displaced"] == FIRST
    assert FIRST in reply["message"] and "an id of its own" in reply["message"]
    (line,) = (each for each in caplog.records if each.levelno == logging.WARNING)
    assert line.getMessage() == "service replaced"
    assert line.__dict__[FIELDS]["displaced"] == FIRST


def test_the_same_place_displaces_nobody(client: FlaskClient) -> None:
    register(client, FIRST)
    assert "displaced" not in register(client, FIRST, version="2.0.0")


def test_who_was_dead_is_displaced_by_nobody(
    client: FlaskClient, registry: Registry
) -> None:
    register(client, FIRST)
    entry = registry.catalog.service("a")
    assert entry is not None
    fault = Fault("check", "connection refused", registry.clock.now())
    registry.call(registry.commands.add_fault(entry, fault))
    assert "displaced" not in register(client, SECOND)
