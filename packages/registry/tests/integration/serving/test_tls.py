"""TLS as callers meet it: versions, their own certificates, and what is refused."""

import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from modularity_registry import config
from modularity_registry.errors import BadSetting
from support import PROGRAMS
from support.access.tls import DAY, Authority, TlsRegistry, serving
from support.serving import HOST, free_port

OLD = (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def plain(
    authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TlsRegistry]:
    """A registry with TLS, for all who trust its authority."""
    cert, key = authority.write("server")
    folder = tmp_path_factory.mktemp("plain")
    context = authority.context()
    with serving(folder, context, tls_cert=str(cert), tls_key=str(key)) as registry:
        yield registry


@pytest.fixture(scope="module")
def mutual(
    authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TlsRegistry]:
    """A registry that wants to see a certificate, and speaks TLS 1.3 alone."""
    cert, key = authority.write("mutual")
    folder = tmp_path_factory.mktemp("mutual")
    with serving(
        folder,
        authority.context(authority.write("caller")),
        tls_cert=str(cert),
        tls_key=str(key),
        tls_client_ca=str(authority.path),
        tls_min_version="1.3",
    ) as registry:
        yield registry


def spoken(registry: TlsRegistry, only: ssl.TLSVersion, authority: Authority) -> str:
    """Call with one version of TLS; return the one that was spoken."""
    context = authority.context()
    if only in OLD:
        # Elsewhere it would be this end that refuses.
        context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = only
    with (
        socket.create_connection((HOST, registry.port), 10) as raw,
        context.wrap_socket(raw, server_hostname=HOST) as wrapped,
    ):
        wrapped.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert wrapped.recv(12) == b"HTTP/1.1 200"
        return wrapped.version() or ""


@pytest.mark.parametrize(
    ("version", "name"),
    [(ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")],
)
def test_both_versions_of_today_are_spoken(
    plain: TlsRegistry, authority: Authority, version: ssl.TLSVersion, name: str
) -> None:
    assert spoken(plain, version, authority) == name


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize("version", OLD)
def test_older_ones_are_not(
    plain: TlsRegistry, authority: Authority, version: ssl.TLSVersion
) -> None:
    with pytest.raises(ssl.SSLError, match=r"alert (handshake|protocol)"):
        spoken(plain, version, authority)


def test_the_oldest_version_can_be_raised(
    mutual: TlsRegistry, authority: Authority
) -> None:
    with pytest.raises(ssl.SSLError, match="alert protocol version"):
        spoken(mutual, ssl.TLSVersion.TLSv1_2, authority)


def test_plain_http_gets_no_answer_where_tls_is_spoken(plain: TlsRegistry) -> None:
    with socket.create_connection((HOST, plain.port), 10) as raw:
        raw.sendall(b"GET /api/services HTTP/1.1\r\nHost: x\r\n\r\n")
        assert not raw.recv(4096).startswith(b"HTTP")


def test_a_caller_with_a_certificate_of_the_ca_is_served(mutual: TlsRegistry) -> None:
    assert mutual.get("/health")[0] == 200


def answer(registry: TlsRegistry, context: ssl.SSLContext) -> bytes:
    """What a caller gets; with TLS 1.3 a refusal comes only after its own part."""
    with (
        socket.create_connection((HOST, registry.port), 10) as raw,
        context.wrap_socket(raw, server_hostname=HOST) as wrapped,
    ):
        wrapped.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        return wrapped.recv(4096)


def test_a_caller_without_a_certificate_is_refused(
    mutual: TlsRegistry, authority: Authority
) -> None:
    with pytest.raises(ssl.SSLError, match="certificate required"):
        answer(mutual, authority.context())


def test_a_caller_with_someone_elses_certificate_is_refused(
    mutual: TlsRegistry, authority: Authority, tmp_path: Path
) -> None:
    # It has the right names in it, and another signature.
    stranger = Authority(tmp_path).write("caller")
    with pytest.raises(ssl.SSLError, match="alert"):
        answer(mutual, authority.context(stranger))


def test_a_caller_whose_certificate_has_expired_is_refused(
    mutual: TlsRegistry, authority: Authority
) -> None:
    now = datetime.now(UTC)
    late = authority.write("late", begins=now - 3 * DAY, ends=now - DAY)
    with pytest.raises(ssl.SSLError, match="alert"):
        answer(mutual, authority.context(late))


def test_every_ca_of_a_file_counts(authority: Authority, tmp_path: Path) -> None:
    other = Authority(tmp_path)
    both = tmp_path / "both.pem"
    both.write_bytes(authority.path.read_bytes() + other.path.read_bytes())
    cert, key = authority.write("of-two")
    with serving(
        tmp_path,
        authority.context(other.write("other")),
        tls_cert=str(cert),
        tls_key=str(key),
        tls_client_ca=str(both),
    ) as registry:
        registry.context = authority.context(authority.write("one"))
        assert registry.get("/health")[0] == 200


# A whole start, or the reasons why there is none.


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"tls_cert": "c.pem"}, "add --tls-key"),
        ({"tls_key": "k.pem"}, "add --tls-cert"),
        ({"tls_client_ca": "ca.pem"}, "--tls-client-ca has no effect"),
        ({"tls_min_version": "1.3"}, "--tls-min-version has no effect"),
        ({"tls_min_version": "1.1"}, "must be 1.2 or 1.3"),
    ],
)
def test_half_of_a_configuration_is_refused(flags: dict[str, str], said: str) -> None:
    with pytest.raises(BadSetting, match=said):
        config.load(flags, {})


def test_a_bad_start_is_one_line(authority: Authority, tmp_path: Path) -> None:
    cert, key = authority.write("a")[0], authority.write("b")[1]
    script = PROGRAMS / "cli.py"
    command = [sys.executable, str(script), "serve", "--port", str(free_port())]
    done = subprocess.run(
        [*command, "--tls-cert", str(cert), "--tls-key", str(key)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("modularity-registry: --tls-key")
    assert done.stderr.count("\n") == 1


def test_an_expired_certificate_is_served_and_said(
    authority: Authority, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    cert, key = authority.write("old", begins=now - 3 * DAY, ends=now - DAY)
    lenient = ssl.create_default_context()
    lenient.check_hostname = False
    lenient.verify_mode = ssl.CERT_NONE
    with serving(tmp_path, lenient, tls_cert=str(cert), tls_key=str(key)) as registry:
        assert "expired on" in registry.said()
        registry.context = authority.context()
        with pytest.raises(ssl.SSLCertVerificationError):
            registry.get("/health")
