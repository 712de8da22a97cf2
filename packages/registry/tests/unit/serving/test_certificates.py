"""Which certificates and keys are served, and to whom, by handshakes in memory."""

import ssl
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from modularity_registry.errors import BadSetting
from modularity_registry.serving import certificates
from modularity_registry.serving.certificates import Files, Material
from support.access.tls import Authority, key_pem, shake_hands


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def files(cert: Path, key: Path, ca: Path | None = None) -> Files:
    return Files(str(cert), str(key), None if ca is None else str(ca), "1.2")


def load(given: Files) -> Material:
    return certificates.load(given, given.read())


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(rsa.generate_private_key(65537, 2048), id="rsa"),
        pytest.param(ec.generate_private_key(ec.SECP256R1()), id="p-256"),
        pytest.param(ec.generate_private_key(ec.SECP384R1()), id="p-384"),
        pytest.param(ed25519.Ed25519PrivateKey.generate(), id="ed25519"),
    ],
)
def test_usual_kinds_of_keys_are_served(authority: Authority, key: Any) -> None:
    material = load(files(*authority.write("kind", key=key)))
    assert material.served.fault(datetime.now(UTC)) is None
    shake_hands(material.context, authority.context())


@pytest.mark.parametrize("memory", [True, False])
def test_what_was_judged_is_what_is_served(
    authority: Authority, memory: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not memory:
        monkeypatch.delattr("os.memfd_create")
        monkeypatch.setattr(tempfile, "tempdir", str(authority.folder))
    given = files(*authority.write("replaced"))
    contents = given.read()
    Path(given.cert).write_bytes(b"nonsense")
    Path(given.key).unlink()
    context = certificates.load(given, contents).context
    shake_hands(context, authority.context())
    # No copy of the key is left.
    assert {path.name for path in authority.folder.iterdir()} == {
        "tests-ca.pem",
        "replaced.pem",
    }


def test_one_file_may_hold_certificate_and_key(authority: Authority) -> None:
    whole = authority.folder / "whole.pem"
    whole.write_bytes(b"".join(authority.sign("whole")))
    given = files(whole, whole)
    material = load(given)
    assert material.digest == certificates.digest(given.read())
    shake_hands(material.context, authority.context())


def test_the_oldest_version_is_the_files(authority: Authority) -> None:
    given = files(*authority.write("server"))
    only = authority.context()
    only.maximum_version = ssl.TLSVersion.TLSv1_2
    shake_hands(load(given).context, only)
    strict = Files(given.cert, given.key, None, "1.3")
    with pytest.raises(ssl.SSLError):
        shake_hands(load(strict).context, only)


def test_only_callers_of_the_ca_are_accepted(authority: Authority) -> None:
    context = load(files(*authority.write("server"), authority.path)).context
    shake_hands(context, authority.context(authority.write("caller")))
    other = authority.folder / "other"
    other.mkdir()
    for client in (None, Authority(other).write("caller")):
        with pytest.raises(ssl.SSLError):
            shake_hands(context, authority.context(client))


def test_a_ca_counts_though_another_has_signed_it(authority: Authority) -> None:
    between = authority.between("between")
    caller = authority.context(between.write("caller"))
    context = load(files(*authority.write("server"), between.path)).context
    shake_hands(context, caller)
    with pytest.raises(ssl.SSLError):
        shake_hands(context, authority.context(authority.write("other")))


def test_comments_beside_certificates_may_be_in_any_language(
    authority: Authority,
) -> None:
    cert, key = authority.write("server")
    for path in (cert, authority.path):
        path.write_bytes("Zertifikat für Tests\n".encode() + path.read_bytes())
    load(files(cert, key, authority.path))


def swapped(authority: Authority) -> Files:
    return files(authority.write("a")[0], authority.write("b")[1])


def missing(authority: Authority) -> Files:
    return files(authority.write("a")[0], authority.folder / "nowhere")


def encrypted(authority: Authority) -> Files:
    cert, key = authority.write("sealed")
    opened: Any = load_pem_private_key(key.read_bytes(), None)
    key.write_bytes(key_pem(opened, b"secret"))
    return files(cert, key)


def backwards(authority: Authority) -> Files:
    cert, key = authority.write("backwards")
    cert.write_bytes(authority.path.read_bytes() + cert.read_bytes())
    return files(cert, key)


def no_certificate(authority: Authority) -> Files:
    key = authority.write("a")[1]
    return files(key, key)


def no_key(authority: Authority) -> Files:
    cert = authority.write("a")[0]
    return files(cert, cert)


def no_ca(authority: Authority) -> Files:
    cert, key = authority.write("a")
    return files(cert, key, key)


def unusual(authority: Authority) -> Files:
    key: Any = ec.generate_private_key(ec.SECP256K1())
    return files(*authority.write("unusual", key=key))


def short(authority: Authority) -> Files:
    return files(*authority.write("short", key=rsa.generate_private_key(65537, 1024)))


def of_another_kind(authority: Authority) -> Files:
    cert, key = authority.write("kind")
    other = ed448.Ed448PrivateKey.generate()
    key.write_bytes(
        other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    return files(cert, key)


def large(authority: Authority) -> Files:
    cert, key = authority.write("large")
    cert.write_bytes(cert.read_bytes() + b"\n" * 1_048_576)
    return files(cert, key)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (swapped, "does not belong to the first certificate"),
        (missing, "can't be read: no such file"),
        (encrypted, "is encrypted"),
        (backwards, "write the server's own certificate before those that signed"),
        (no_certificate, "holds no certificate"),
        (no_key, "holds no private key"),
        (no_ca, "--tls-client-ca .* holds no certificate"),
        (unusual, "TLS library can't serve .*: no shared cipher; use a key of RSA"),
        (short, "TLS library can't serve .*: ee key too small; use a key of RSA"),
        (of_another_kind, "does not belong to the first certificate"),
        (large, "is over 1 MiB"),
    ],
)
def test_what_cannot_be_served_is_refused_with_the_reason(
    authority: Authority, made: Any, said: str
) -> None:
    with pytest.raises(BadSetting, match=said) as caught:
        load(made(authority))
    assert "\n" not in caught.value.detail
