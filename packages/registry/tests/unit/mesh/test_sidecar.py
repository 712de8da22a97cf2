"""What a node's metadata says of a sidecar, and how much it may say."""

import json
from typing import Any

import pytest

from modularity_registry.integrations.mesh.resources.sidecar import sidecar_of
from modularity_registry.schema import MAX_CAPABILITIES

MOST = [f"c{number}" for number in range(MAX_CAPABILITIES)]


def metadata(**changes: Any) -> str:
    """The metadata of a sidecar, with ``changes`` made to it."""
    content = {
        "service_id": "web-1",
        "capabilities": ["web"],
        "address": "10.0.0.1",
        "port": 8443.0,
        "health_path": "/health",
        **changes,
    }
    return json.dumps({"mesh": content})


def test_a_sidecar_may_have_as_many_capabilities_as_a_service() -> None:
    sidecar = sidecar_of(metadata(capabilities=MOST))
    assert sidecar is not None
    assert (list(sidecar.capabilities), sidecar.port) == (MOST, 8443)


@pytest.mark.parametrize(
    "changes",
    [
        {"capabilities": [*MOST, "one-more"]},
        {"capabilities": ["c" * 129]},
        {"service_id": "w" * 1000},
        {"address": "a" * 1000},
        {"health_path": "/" * 1000},
    ],
)
def test_a_node_that_says_more_is_no_sidecar(changes: dict[str, Any]) -> None:
    assert sidecar_of(metadata(**changes)) is None
