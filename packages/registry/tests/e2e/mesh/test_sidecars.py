"""Two services with their sidecars: what passes, what does not, what cuts nothing."""

import http.client
import json
import os
import shutil
import signal
import ssl
import stat
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
import requests
from cryptography import x509

from support.access.tokens import as_, closed
from support.cli import Served
from support.registry import eventually
from support.servers.mesh import Load, MeshService, require_envoy, uris
from support.serving import HOST, alive, free_port

LIFETIME = 40.0
"""Seconds that certificates are valid: renewed after 16 to 24, as a registry that
starts on a busy machine needs."""


class Site(NamedTuple):
    registry: Served
    boss: str
    web: MeshService
    billing: MeshService

    def intend(self, source: str, capability: str, action: str) -> None:
        command = "mesh", "intention", "set", source, capability, action
        result = as_(self.registry, self.boss, *command)
        assert result.exit_code == 0, result.stderr

    def answers(
        self,
        status: int,
        capability: str = "billing",
        connection: http.client.HTTPConnection | None = None,
    ) -> bool:
        return self.web.call(capability, "GET", connection)[0] == status


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    require_envoy()
    folder = tmp_path_factory.mktemp("mesh")
    settings = {
        "integrations": ["envoy", "mesh"],
        "xds_port": free_port(),
        "mesh_certificate_lifetime": LIFETIME,
    }
    with closed(folder, **settings) as (registry, boss):
        services = []
        for name in ("web", "billing"):
            rights = "--right", "read", "--right", "register", "--id", name
            made = as_(registry, boss, "token", "create", name, *rights)
            assert made.exit_code == 0, made.stderr
            token = made.stdout.strip()
            services.append(MeshService(registry.url, name, folder, token))
        try:
            for service in services:
                service.wait_until_up()
            site = Site(registry, boss, *services)
            eventually(lambda: site.answers(403))
            yield site
        finally:
            for service in services:
                service.stop()


def test_who_is_not_named_by_an_intention_gets_403(site: Site) -> None:
    status, body = site.web.call("billing")
    assert (status, body) == (403, b"RBAC: access denied")


def test_an_allowed_call_passes_over_mutual_tls(site: Site) -> None:
    site.intend("web", "billing", "allow")
    eventually(lambda: site.answers(200))

    headers = site.web.call("billing")[1]
    assert b"URI=spiffe://modularity/service/web" in headers
    assert b'"host": "billing"' in headers
    assert uris(site.billing.certificate()) == ["spiffe://modularity/service/billing"]


def test_the_registry_checks_the_service_through_the_sidecar(site: Site) -> None:
    entry = requests.get(
        f"{site.registry.url}/api/services/billing",
        headers={"Authorization": f"Bearer {site.boss}"},
        timeout=5,
    ).json()
    assert entry["status"] == "healthy"
    assert entry["location"] == f"http://{HOST}:{site.billing.inbound}"


def test_without_a_certificate_only_the_path_of_checks_is_reached(site: Site) -> None:
    url = f"{HOST}:{site.billing.inbound}"
    refused = requests.get(f"http://{url}/", timeout=5)
    assert (refused.status_code, "mutual TLS" in refused.text) == (403, True)
    assert requests.get(f"http://{url}/_module/health", timeout=5).status_code == 200
    assert requests.post(f"http://{url}/_module/health", timeout=5).status_code == 403
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection(url, timeout=5, context=context)
    # The alert, or the end of the connection behind it.
    with pytest.raises((ssl.SSLError, ConnectionError)):
        connection.request("GET", "/_module/health", headers={"Host": "billing"})
        connection.getresponse()
    connection.close()


def test_a_host_that_is_no_capability_of_the_service_gets_403(site: Site) -> None:
    site.intend("web", "*", "allow")
    eventually(lambda: site.answers(200, "web"))
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _load_certificate_of(site.web, context)

    def status(host: str) -> int:
        connection = http.client.HTTPSConnection(
            HOST, site.billing.inbound, timeout=5, context=context
        )
        connection.request("GET", "/", headers={"Host": host})
        code = connection.getresponse().status
        connection.close()
        return code

    assert status("billing") == 200
    assert status("billing:8080") == 200
    assert status("web") == 403
    assert status("Billing") == 403


def _load_certificate_of(service: MeshService, context: ssl.SSLContext) -> None:
    """Take over the key of a sidecar, which nobody but its owner may read."""
    folder = service.folder()
    secret = folder / "certificate.json"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    [content] = json.loads(secret.read_text())["resources"]
    both = content["tls_certificate"]
    file = service.log.with_suffix(".pem")
    parts = both["private_key"], both["certificate_chain"]
    file.write_text("".join(part["inline_string"] for part in parts))
    context.load_cert_chain(file)
    file.unlink()


def test_an_intention_takes_effect_within_two_seconds(site: Site) -> None:
    site.intend("web", "billing", "allow")
    eventually(lambda: site.answers(200))
    kept = site.web.connect()
    assert site.web.call("billing", connection=kept)[0] == 200
    for action, status in (("deny", 403), ("allow", 200)):
        site.intend("web", "billing", action)
        began = time.monotonic()
        eventually(partial(site.answers, status, "billing", kept))
        assert time.monotonic() - began < 2
    kept.close()


def test_rotations_and_a_restart_of_the_registry_cut_no_call(site: Site) -> None:
    site.intend("web", "billing", "allow")
    eventually(lambda: site.answers(200))
    first = site.billing.certificate()
    with Load(site.web, "billing") as load:
        rotate = "mesh", "rotate-authority", "--overlap", "6"
        result = as_(site.registry, site.boss, *rotate)
        assert result.exit_code == 0, result.stderr
        again = as_(site.registry, site.boss, *rotate)
        assert "a rotation is under way" in again.stderr
        site.registry.kill()
        site.registry.start()
        for service in (site.web, site.billing):
            eventually(partial(_has_another_issuer, service, first.issuer))
        calls = load.calls
        eventually(lambda: load.calls > calls + 100)
    assert load.failures == []
    assert load.calls > 500


def _has_another_issuer(service: MeshService, issuer: x509.Name) -> bool:
    return service.certificate().issuer != issuer


def test_an_envoy_that_is_killed_is_started_again(site: Site) -> None:
    site.intend("web", "billing", "allow")
    before = site.billing.envoy
    assert alive(before)
    os.kill(before, signal.SIGKILL)
    eventually(lambda: site.billing.envoy not in (0, before))
    eventually(lambda: site.answers(200))
    assert "Envoy ended with signal 9" in site.billing.said()


def test_a_sidecar_that_is_killed_takes_envoy_with_it(
    site: Site, tmp_path: Path
) -> None:
    service = MeshService(site.registry.url, "extra", tmp_path, site.boss)
    try:
        service.wait_until_up()
        envoy, folder = service.envoy, service.folder()
        assert alive(envoy)
        service.kill()
        eventually(lambda: service.ended(envoy))
        shutil.rmtree(folder)  # which nobody else does
    finally:
        service.stop()


def test_sigterm_cuts_no_call_and_leaves_neither_process_nor_registration(
    site: Site, tmp_path: Path
) -> None:
    site.intend("web", "billing", "allow")
    place = tmp_path, site.boss, "billing"
    service = MeshService(site.registry.url, "leaver", *place)
    service.wait_until_up()
    envoy, folder = service.envoy, service.folder()
    with Load(site.web, "billing") as load:
        eventually(lambda: service.id in _callees(site.web))
        assert service.stop() == 0
    assert load.failures == []
    assert service.ended(envoy)
    assert not folder.exists()
    result = as_(site.registry, site.boss, "info", "leaver")
    assert result.exit_code == 1
    assert "leaver" in result.stderr


def _callees(service: MeshService) -> str:
    """Return who answered a call of billing, as the callee's certificate names it."""
    return service.call("billing")[1].decode().partition("By=")[2].partition(";")[0]


def test_a_sidecar_whose_id_the_token_forbids_does_not_start(
    site: Site, tmp_path: Path
) -> None:
    made = as_(
        *(site.registry, site.boss, "token", "create", "narrow"),
        *("--right", "read", "--right", "register", "--id", "narrow-*"),
    )
    service = MeshService(site.registry.url, "wide", tmp_path, made.stdout.strip())
    service.process.wait(30)
    assert service.stop() == 1
    assert "does not allow the id 'wide'" in service.said()
