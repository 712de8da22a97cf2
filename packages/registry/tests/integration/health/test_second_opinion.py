"""Replicas ask each other over a real store, and say so wherever a reason stands."""

import json
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from modularity_client.types.services import ExplanationList
from modularity_registry import config, runtime, schema
from modularity_registry.api.app import create_app
from modularity_registry.cli.doctor import findings
from modularity_registry.cli.lookup import _explained
from modularity_registry.cli.output import show
from modularity_registry.cli.render import service_page
from modularity_registry.health.probes import Outcome, Prober, Target
from modularity_registry.network.address_policy import AddressPolicy
from modularity_registry.runtime import Registry
from support.cli import spaced
from support.registry import LOOP, eventually, registration
from support.serving import HOST

INTERVAL = 2.0


class CutOff(Prober):
    """Makes checks, but for those of services that it is cut off from."""

    def __init__(self) -> None:
        super().__init__(AddressPolicy.parse("loopback"))
        self.lost: set[str] = set()

    async def probe(self, target: Target) -> Outcome:
        if target.registration.id in self.lost:
            return Outcome(False, 1.0, "no network route to the host", "unreachable")
        return await super().probe(target)


class Site:
    """Two replicas on hosts of their own, over one store in a file."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.probers = CutOff(), CutOff()
        self.replicas: list[Registry] = []
        settings = config.Settings(
            store=f"sqlite:///{folder / 'registry.db'}",
            confirm=2,
            health_check_interval=INTERVAL,
        )
        for name, prober in zip("ab", self.probers, strict=True):
            monkeypatch.setattr(socket, "gethostname", lambda name=name: name)
            replica = runtime.build(settings, prober=prober, replica=name)
            LOOP.call(replica.start())
            self.replicas.append(replica)
        eventually(
            lambda: all(each.membership.alive == ("a", "b") for each in self.replicas)
        )

    def register(self, port: int) -> str:
        """Register a service that the first replica checks; return its id."""
        first = self.replicas[0]
        ids = (f"s{number}" for number in range(1_000))
        service_id = next(each for each in ids if first.membership.owner(each) == "a")
        body = registration(service_id, location=f"tcp://{HOST}:{port}", mode="tcp")
        parsed = schema.parse_registration(schema.encode(body))
        first.call(first.commands.register(parsed, True))
        return service_id

    def get(self, path: str, replica: int = 0) -> Any:
        reply = create_app(self.replicas[replica]).test_client().get(path)
        assert reply.status_code == 200, reply.text
        return json.loads(reply.data)

    def close(self) -> None:
        for replica in self.replicas:
            LOOP.call(replica.stop())


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    site = Site(tmp_path, monkeypatch)
    yield site
    site.close()


DISAGREEMENT = "unreachable from replica a, reachable from b"


def test_a_disagreement_is_shown_and_a_death_is_noticed(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(socket.create_server((HOST, 0))) as service:
        service_id = site.register(service.getsockname()[1])
        path, explain = f"/api/services/{service_id}", "/api/capabilities/greet/explain"
        assert "second_opinion" not in site.get(path)["evidence"]
        assert "second_opinion" not in site.get(explain)["providers"][0]
        tag = create_app(site.replicas[0]).test_client().get(explain).headers["ETag"]
        site.probers[0].lost.add(service_id)
        eventually(lambda: DISAGREEMENT in str(site.get(path)["evidence"]))
        shown = site.get(path)
        assert shown["status"] == "healthy"
        [provider] = site.get(explain)["providers"]
        assert provider["returned"] is True
        assert provider["second_opinion"] == DISAGREEMENT
        [explained] = ExplanationList.from_json(site.get(explain))
        assert explained.second_opinion == DISAGREEMENT
        client = create_app(site.replicas[0]).test_client()
        reply = client.get(explain, headers={"If-None-Match": tag})
        assert reply.status_code == 200, "the disagreement is not of the store"
        assert DISAGREEMENT in str(_explained(provider))
        nobody: dict[str, Any] = {"consuming": {}, "providing": {}}
        for part in service_page(shown, nobody):
            show(part)
        assert f"other replicas {DISAGREEMENT}" in spaced(capsys.readouterr().out)
        notes = [each.message for each in findings.of_service(shown)]
        assert DISAGREEMENT in notes
        [reason] = site.get("/health")["reasons"]
        assert reason.startswith("1 check fails to connect from this replica")
        metrics = create_app(site.replicas[0]).test_client().get("/metrics").text
        assert "registry_health_verdicts_held 1.0" in metrics
        assert site.get("/health", 1)["status"] == "healthy"
    eventually(lambda: bool(site.get(path)["status"] == "unhealthy"))
    [fault] = site.get(path, 1)["evidence"]["faults"]
    assert fault["reason"].endswith(
        "checks in a row failed; unreachable from replica a,"
        " failing from b (connection refused)"
    )
