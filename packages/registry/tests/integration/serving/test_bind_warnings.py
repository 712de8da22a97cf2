"""What is said of a registry that listens where it should not, as it stands."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from modularity_registry.api.app import create_app
from modularity_registry.cli.main import main
from modularity_registry.config import Settings
from modularity_registry.model.rights import Right
from modularity_registry.serving.bind_warnings import warnings
from support.access.tls import Authority, TlsRegistry, serving
from support.registry import loaded_registry, unload

OPEN = "anyone who can reach"
CLEAR = "unencrypted"
TLS = {"tls_cert": "c.pem", "tls_key": "k.pem"}


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
@pytest.mark.parametrize("auth", [True, False])
def test_nothing_is_said_on_loopback(host: str, auth: bool) -> None:
    assert warnings(Settings(host=host, auth=auth)) == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, [OPEN]),
        (TLS, [OPEN]),
        ({"trusted_proxies": "10.0.0.1"}, [OPEN]),
        ({**TLS, "tls_client_ca": "ca.pem"}, []),
        ({"auth": True}, [CLEAR]),
        ({"auth": True, "anonymous": frozenset({Right.READ})}, [CLEAR]),
        ({"auth": True, **TLS}, []),
        ({"auth": True, "trusted_proxies": "10.0.0.1"}, []),
    ],
)
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "registry.lan"])
def test_what_is_dangerous_beyond_it(
    host: str, settings: dict[str, Any], said: list[str]
) -> None:
    found = warnings(Settings(host=host, **settings))
    assert len(found) == len(said)
    for each, part in zip(found, said, strict=True):
        assert part in each and host in each and "; add --" in each


def test_an_ipv6_address_stands_in_brackets() -> None:
    assert "[::]:5000" in warnings(Settings(host="::"))[0]


def test_health_has_the_warnings() -> None:
    for host, expected in (("127.0.0.1", False), ("0.0.0.0", True)):
        registry = loaded_registry(host=host)
        try:
            health = create_app(registry).test_client().get("/health").get_json()
            assert ("warnings" in health) is expected
        finally:
            unload(registry)


# The commands, over TLS.


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def mutual(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Any:
    cert, key = authority.write("server")
    with serving(
        tmp_path_factory.mktemp("mutual"),
        authority.context(authority.write("caller")),
        tls_cert=str(cert),
        tls_key=str(key),
        tls_client_ca=str(authority.path),
    ) as registry:
        yield registry


def ran(registry: TlsRegistry, *arguments: object) -> tuple[int, str]:
    url = f"https://127.0.0.1:{registry.port}"
    command = ["ls", "--url", url, *map(str, arguments)]
    done = CliRunner().invoke(main, command)
    return done.exit_code, done.output


def test_commands_trust_a_ca_and_show_a_certificate(
    mutual: TlsRegistry, authority: Authority
) -> None:
    cert, key = authority.write("person")
    shown = ("--client-cert", cert, "--client-key", key)
    code, output = ran(mutual, "--ca-file", authority.path, *shown)
    assert code == 0, output
    assert ran(mutual, "--ca-file", authority.path)[0] == 1
    assert ran(mutual, *shown)[0] == 1
    whole = authority.folder / "person-both.pem"
    whole.write_bytes(cert.read_bytes() + key.read_bytes())
    assert ran(mutual, "--ca-file", authority.path, "--client-cert", whole)[0] == 0


def test_the_environment_says_it_too(
    mutual: TlsRegistry, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    cert, key = authority.write("person")
    monkeypatch.setenv("REGISTRY_CA_FILE", str(authority.path))
    monkeypatch.setenv("REGISTRY_CLIENT_CERT", str(cert))
    monkeypatch.setenv("REGISTRY_CLIENT_KEY", str(key))
    code, output = ran(mutual)
    assert code == 0, output


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--ca-file", "nowhere"), "--ca-file"),
        (("--client-key", "k.pem"), "needs --client-cert"),
        (("--client-cert", "nowhere"), "--client-cert"),
    ],
)
def test_files_that_are_no_good_are_the_callers_mistake(
    mutual: TlsRegistry, tmp_path: Path, flags: tuple[str, ...], said: str
) -> None:
    code, output = ran(mutual, *flags)
    assert code == 2
    assert said in output
