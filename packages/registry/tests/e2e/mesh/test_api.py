"""The API of the mesh: the authority, certificates and intentions."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from support.access.audit import acts
from support.access.tokens import as_, closed
from support.cli import Served, run
from support.registry import eventually
from support.serving import free_port

MESH: dict[str, Any] = {"integrations": ["envoy", "mesh"]}


def csr(name: str = "somebody-else") -> str:
    """A request for a certificate, with names that must not count."""
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    names = x509.SubjectAlternativeName([x509.DNSName(name)])
    request = x509.CertificateSigningRequestBuilder(subject)
    key = ec.generate_private_key(ec.SECP256R1())
    signed = request.add_extension(names, critical=False).sign(key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM).decode()


class Api:
    """The mesh's API of one registry, for callers with a token."""

    def __init__(self, registry: Served, token: str = "") -> None:
        self._url = f"{registry.url}/api/mesh/"
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def call(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, Any]:
        reply = requests.request(
            method,
            self._url + path,
            json=body,
            headers=self._headers | headers,
            timeout=10,
        )
        return reply.status_code, reply.json()

    def certificate(self, service_id: str, **more: Any) -> tuple[int, Any]:
        body = {"service_id": service_id, "csr": csr(), **more}
        return self.call("POST", "certificates", body)


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Served, str, dict[str, Api], Path]]:
    folder = tmp_path_factory.mktemp("mesh-api")
    audit = folder / "audit.log"
    settings = {**MESH, "xds_port": free_port(), "audit_file": str(audit)}
    with closed(folder, **settings) as (registry, boss):
        apis = {"boss": Api(registry, boss), "nobody": Api(registry)}
        for name in ("web", "billing"):
            made = as_(
                *(registry, boss, "token", "create", name, "--right", "read"),
                *("--right", "register", "--id", f"{name}*", "--capability", name),
            )
            apis[name] = Api(registry, made.stdout.strip())
        yield registry, boss, apis, audit


@pytest.fixture
def apis(site: tuple[Served, str, dict[str, Api], Path]) -> dict[str, Api]:
    return site[2]


def test_a_certificate_names_the_service_and_nothing_that_the_csr_says(
    apis: dict[str, Api],
) -> None:
    status, issued = apis["web"].certificate("web-1", capabilities=["web"])
    assert status == 201
    certificate = x509.load_pem_x509_certificate(issued["certificate"].encode())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert [name.value for name in names.value] == [
        "spiffe://modularity/service/web-1",
        "web",
    ]
    assert list(certificate.subject) == []
    [root] = x509.load_pem_x509_certificates(issued["trust_bundle"].encode())
    certificate.verify_directly_issued_by(root)


@pytest.mark.parametrize(
    ("who", "service_id", "capabilities", "expected"),
    [
        ("web", "billing", [], (403, "forbidden")),
        ("web", "web", ["billing"], (403, "forbidden")),
        ("nobody", "web", [], (401, "unauthorized")),
        ("boss", "with:colon", [], (400, "invalid_request")),
        ("boss", "web", ["a b"], (400, "invalid_request")),
    ],
)
def test_who_may_not_be_a_service_gets_no_certificate_for_it(
    apis: dict[str, Api],
    who: str,
    service_id: str,
    capabilities: list[str],
    expected: tuple[int, str],
) -> None:
    status, problem = apis[who].certificate(service_id, capabilities=capabilities)
    assert (status, problem["code"]) == expected


def test_a_service_of_another_owner_gets_no_certificate(
    site: tuple[Served, str, dict[str, Api], Path],
) -> None:
    registry, boss, apis, _ = site
    command = "register", "--id", "web-owned", "--capability", "web", "--mode"
    place = "standalone", "--location", "here"
    owner = as_(registry, boss, "token", "create", "o", "--right", "register")
    made = as_(registry, owner.stdout.strip(), *command, *place)
    assert made.exit_code == 0, made.stderr
    status, problem = apis["web"].certificate("web-owned")
    assert (status, problem["code"]) == (409, "owned_by_another")


@pytest.mark.parametrize(
    "body",
    [
        {"service_id": "web", "csr": "rubbish"},
        {"service_id": "web", "csr": "-" * 20_000},
        {"service_id": "web"},
        {"service_id": "web\n", "csr": csr()},
        {"service_id": "web", "csr": csr(), "capabilities": ["greet\n"]},
        {"csr": csr()},
        {"service_id": "web", "csr": csr(), "extra": 1},
        ["web"],
    ],
)
def test_a_bad_request_for_a_certificate_gets_400(
    apis: dict[str, Api], body: Any
) -> None:
    status, problem = apis["boss"].call("POST", "certificates", body)
    assert (status, problem["code"]) == (400, "invalid_request")


def test_without_tokens_only_this_machine_gets_certificates(tmp_path: Path) -> None:
    registry = Served(**MESH, xds_port=free_port())
    try:
        api = Api(registry)
        assert api.certificate("web")[0] == 201
        body = {"service_id": "web", "csr": csr()}
        remote = {"X-Forwarded-For": "192.0.2.7"}
        status, problem = api.call("POST", "certificates", body, **remote)
        assert (status, problem["code"]) == (403, "forbidden")
    finally:
        registry.kill()


def test_the_more_exact_intention_counts(apis: dict[str, Api]) -> None:
    boss = apis["boss"]
    for source, capability, action in (
        ("*", "shop.*", "allow"),
        ("web-*", "shop.*", "deny"),
        ("*", "shop.pay", "deny"),
        ("web-1", "shop.pay", "allow"),
    ):
        path = f"intentions/{source}/{capability}"
        assert boss.call("PUT", path, {"action": action})[0] == 200

    def action_for(source: str, capability: str) -> str:
        query = f"decision?source={source}&capability={capability}"
        found: str = apis["web"].call("GET", query)[1]["action"]
        return found

    assert action_for("other", "shop.cart") == "allow"
    assert action_for("web-1", "shop.cart") == "deny"
    assert action_for("other", "shop.pay") == "deny"
    assert action_for("web-1", "shop.pay") == "allow"
    assert action_for("other", "elsewhere") == "deny"
    assert boss.call("DELETE", "intentions/web-1/shop.pay")[0] == 200
    assert action_for("web-1", "shop.pay") == "deny"
    status, problem = boss.call("DELETE", "intentions/web-1/shop.pay")
    assert (status, problem["code"]) == (404, "intention_not_found")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("web/billing", {"action": "maybe"}),
        ("web/billing", {}),
        ("*web/billing", {"action": "allow"}),
        ("web/-", {"action": "allow"}),
        ("we%20b/billing", {"action": "allow"}),
    ],
)
def test_a_bad_intention_gets_400(apis: dict[str, Api], path: str, body: Any) -> None:
    status, problem = apis["boss"].call("PUT", f"intentions/{path}", body)
    assert (status, problem["code"]) == (400, "invalid_request")


def test_only_admins_change_intentions_and_the_authority(
    apis: dict[str, Api],
) -> None:
    web = apis["web"]
    allow = {"action": "allow"}
    assert web.call("PUT", "intentions/web/billing", allow)[0] == 403
    assert web.call("DELETE", "intentions/web/billing")[0] == 403
    assert web.call("POST", "authority/rotate", {})[0] == 403
    assert apis["nobody"].call("GET", "intentions")[0] == 401


def test_an_overlap_that_sidecars_could_miss_is_refused(apis: dict[str, Api]) -> None:
    short = {"overlap_seconds": 5}
    status, problem = apis["boss"].call("POST", "authority/rotate", short)
    assert (status, problem["code"]) == (400, "invalid_request")
    assert "90 s or longer" in problem["detail"]


def test_the_audit_tells_of_certificates_and_intentions(
    site: tuple[Served, str, dict[str, Api], Path],
) -> None:
    *_, apis, audit = site
    apis["web"].certificate("web-2")
    apis["boss"].call("PUT", "intentions/web-2/billing", {"action": "allow"})

    def line(event: str, **fields: Any) -> Any:
        return [
            line
            for line in acts(audit)
            if line["event"] == event and fields.items() <= line.items()
        ]

    eventually(lambda: bool(line("mesh.intention_changed", source="web-2")))
    [issued] = line("mesh.certificate_issued", service_id="web-2")
    assert (issued["who"], bool(issued["serial"])) == ("web", True)
    assert len(line("mesh.authority_created")) == 1


def test_replicas_that_begin_at_once_have_one_authority(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'shared.db'}"
    replicas = [Served(**MESH, xds_port=free_port(), store=store) for _ in range(2)]
    try:
        bundles: list[str] = []

        def ask(replica: Served) -> None:
            bundles.append(Api(replica).call("GET", "authority")[1]["trust_bundle"])

        threads = [
            threading.Thread(target=ask, args=(replica,)) for replica in replicas * 4
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(bundles) == 8
        assert len(set(bundles)) == 1
        one, other = map(Api, replicas)
        one.call("PUT", "intentions/web/billing", {"action": "allow"})
        query = "decision?source=web&capability=billing"
        eventually(lambda: other.call("GET", query)[1]["action"] == "allow")
    finally:
        for replica in replicas:
            replica.kill()


def test_a_key_file_keeps_the_roots_key_from_who_reads_the_store(
    tmp_path: Path,
) -> None:
    file, store = tmp_path / "key", tmp_path / "registry.db"
    file.write_text("a password of some length\n")
    settings = {**MESH, "xds_port": free_port(), "store": f"sqlite:///{store}"}
    registry = Served(**settings, mesh_key_file=str(file))
    try:
        assert Api(registry).certificate("web")[0] == 201
    finally:
        registry.kill()
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("registry.db*"))
    assert b"BEGIN ENCRYPTED PRIVATE KEY" in kept
    assert b"BEGIN PRIVATE KEY" not in kept

    without = Served(**settings)
    try:
        status, problem = Api(without).certificate("web")
        assert (status, problem["code"]) == (503, "not_ready")
        assert "--mesh-key-file" in problem["detail"]
    finally:
        without.kill()


def test_a_registry_without_a_mesh_is_told_to_the_one_who_runs_a_sidecar() -> None:
    registry = Served()
    try:
        command = "mesh", "run", "--id", "web", "--port", "8080"
        result = run(*command, REGISTRY_URL=registry.url)
        assert (result.exit_code, "--integrations" in result.stderr) == (1, True)
    finally:
        registry.kill()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--envoy", "/no/such/program"), "correct --envoy"),
        (("--outbound-port", "{port}"), "choose another port with --outbound-port"),
        (("--inbound-port", "1"), "without --mtls"),
    ],
)
def test_what_keeps_a_sidecar_from_starting_is_told(
    site: tuple[Served, str, dict[str, Api], Path],
    arguments: tuple[str, str],
    message: str,
) -> None:
    registry, boss, *_ = site
    filled = [each.format(port=registry.port) for each in arguments]
    result = as_(registry, boss, "mesh", "run", "--id", "x", "--port", "1", *filled)
    assert result.exit_code in (1, 2)
    assert message in result.stderr
