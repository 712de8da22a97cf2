"""Settings of the mesh that do not go together, or can't be had."""

from pathlib import Path
from typing import Any

import pytest

from modularity_registry.config import Settings
from modularity_registry.config.contradictions import contradictions
from modularity_registry.errors import BadSetting
from modularity_registry.integrations import mesh

BOTH: dict[str, Any] = {"integrations": ("envoy", "mesh"), "xds_port": 18_000}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"integrations": ("mesh",), "xds_port": 0}, "write --integrations envoy,mesh"),
        ({**BOTH, "xds_port": 0}, "add --xds-port"),
        ({"mesh_default": "allow"}, "--mesh-default has no effect"),
        ({"mesh_trust_domain": "corp"}, "--mesh-trust-domain has no effect"),
        ({"mesh_certificate_lifetime": 60.0}, "--mesh-certificate-lifetime has no"),
        ({"mesh_key_file": "key"}, "--mesh-key-file has no effect"),
    ],
)
def test_a_contradiction_is_told(settings: dict[str, Any], message: str) -> None:
    assert any(message in text for text in contradictions(Settings(**settings)))


def test_a_mesh_with_all_that_it_needs_contradicts_nothing() -> None:
    settings = Settings(**BOTH, mesh_default="allow", mesh_key_file="key")
    assert list(contradictions(settings)) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "No such file"), (b"short\n", "openssl rand -hex 32")],
)
def test_a_key_file_that_can_not_be_used_is_told(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(BadSetting, match=message):
        mesh.check(Settings(**BOTH, mesh_key_file=str(file)))
