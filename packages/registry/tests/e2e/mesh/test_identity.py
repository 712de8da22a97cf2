"""A sidecar's certificate over time: renewed, and kept while the registry is away."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from modularity_client import Registry
from modularity_registry.cli.mesh.identity import Identity
from support.cli import Served
from support.registry import eventually
from support.serving import free_port

LIFETIME = 10.0
"""Seconds that certificates are valid: renewed after 4 to 6."""


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Served]:
    registry = Served(
        integrations=["envoy", "mesh"],
        xds_port=free_port(),
        mesh_certificate_lifetime=LIFETIME,
        store=f"sqlite:///{tmp_path / 'registry.db'}",
    )
    yield registry
    registry.kill()


def test_a_certificate_is_renewed_in_time_and_kept_while_the_registry_is_away(
    registry: Served, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "modularity_registry")

    def secret() -> dict[str, dict[str, str]]:
        document = json.loads((tmp_path / "certificate.json").read_text())
        [content] = document["resources"]
        both: dict[str, dict[str, str]] = content["tls_certificate"]
        return both

    def end() -> float:
        text = secret()["certificate_chain"]["inline_string"]
        certificate = x509.load_pem_x509_certificate(text.encode())
        return certificate.not_valid_after_utc.timestamp()

    with Registry(registry.url) as client:
        identity = Identity(client, tmp_path, "web", ["web"], None)
        identity.start()
        try:
            first, first_end = secret(), end()
            eventually(lambda: secret() != first)
            assert 3 <= end() - first_end <= 8
            assert secret()["private_key"] != first["private_key"]

            kept = secret()
            registry.kill()
            eventually(lambda: "keeps the certificate" in caplog.text)
            eventually(lambda: "the certificate expires in" in caplog.text)
            assert secret() == kept
            registry.start()
            eventually(lambda: "the registry answers again" in caplog.text)
            eventually(lambda: secret() != kept)
        finally:
            identity.stop()
