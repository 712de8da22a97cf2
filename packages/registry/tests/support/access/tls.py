"""Certificates with any dates, and a registry that speaks TLS with them."""

import http.client
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from support import PROGRAMS
from support.registry import eventually
from support.serving import HOST, free_port

PROGRAM = PROGRAMS / "cli.py"
DAY = timedelta(days=1)

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def key_pem(key: Key, password: bytes | None = None) -> bytes:
    """The key in PEM, encrypted if there is a password."""
    sealed: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password is not None:
        sealed = serialization.BestAvailableEncryption(password)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, sealed
    )


class Authority:
    """Signs certificates for this machine; its own is at ``path``."""

    def __init__(self, folder: Path, name: str = "an authority for tests") -> None:
        self.folder = folder
        self.path = folder / f"{name.split()[-1]}-ca.pem"
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.ends = (datetime.now(UTC) + 20 * DAY).replace(microsecond=0)
        own = self._sign_authority(self)
        self.path.write_bytes(own.public_bytes(serialization.Encoding.PEM))

    def _builder(
        self,
        subject: x509.Name,
        key: Key,
        ends: datetime,
        begins: datetime | None = None,
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins or datetime.now(UTC) - DAY)
            .not_valid_after(ends)
            # Two authorities may have the same name.
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()),
                critical=False,
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(
                    self._key.public_key()
                ),
                critical=False,
            )
        )

    def between(self, name: str) -> "Authority":
        """Return an authority that this one has signed."""
        other = Authority(self.folder, name)
        signed = self._sign_authority(other)
        other.path.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        return other

    def _sign_authority(self, other: "Authority") -> x509.Certificate:
        usage = x509.KeyUsage(*(False,) * 5, True, True, False, False)
        return (
            self._builder(other._name, other._key, self.ends)
            .add_extension(x509.BasicConstraints(True, None), critical=True)
            .add_extension(usage, critical=True)
            .sign(self._key, hashes.SHA256())
        )

    def sign(
        self,
        name: str,
        ends: datetime | None = None,
        begins: datetime | None = None,
        key: Key | None = None,
    ) -> tuple[bytes, bytes]:
        """Return a certificate for 127.0.0.1 and its key, both in PEM."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names = [x509.IPAddress(ip_address(HOST)), x509.DNSName("localhost")]
        ends = ends or datetime.now(UTC) + 2 * DAY
        signed = (
            self._builder(subject, key, ends, begins)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return signed.public_bytes(serialization.Encoding.PEM), key_pem(key)

    def write(
        self, file: str, name: str | None = None, **how: Any
    ) -> tuple[Path, Path]:
        """Sign for ``name``, and write both into files of their own."""
        pair = self.folder / f"{file}.pem", self.folder / f"{file}.key"
        for path, content in zip(pair, self.sign(name or file, **how), strict=True):
            path.write_bytes(content)
        return pair

    def context(self, client: tuple[Path, Path] | None = None) -> ssl.SSLContext:
        """Return what a caller needs that trusts this authority alone."""
        context = ssl.create_default_context(cafile=self.path)
        if client is not None:
            context.load_cert_chain(*client)
        return context


def renew(authority: Authority, name: str, **how: Any) -> None:
    """Put another certificate where "served" is: the key, and then the rest."""
    cert, key = authority.sign(name, **how)
    (authority.folder / "served.key").write_bytes(key)
    (authority.folder / "served.pem").write_bytes(cert)


def shake_hands(
    server: ssl.SSLContext,
    client: ssl.SSLContext,
    session: ssl.SSLSession | None = None,
) -> ssl.SSLObject:
    """Connect in memory; return the caller's end, which has had one byte.

    With TLS 1.3 a caller knows only then whether it was accepted, and has a session.
    """
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    caller = client.wrap_bio(down, up, server_hostname=HOST, session=session)
    answering = server.wrap_bio(up, down, server_side=True)
    for end in [caller, answering] * 4:
        with suppress(ssl.SSLWantReadError):
            end.do_handshake()
    answering.write(b"x")
    assert caller.read(1) == b"x"
    return caller


class TlsRegistry:
    """A registry with ``settings`` in a process of its own, and its log."""

    def __init__(self, folder: Path, context: ssl.SSLContext, **settings: Any) -> None:
        self.port = free_port()
        self.context = context
        self.log = folder / "registry.log"
        flags = ["--port", str(self.port)]
        for name, value in settings.items():
            flags += [f"--{name.replace('_', '-')}", str(value)]
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, str(PROGRAM), "serve", *flags],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def wait_until_up(self) -> None:
        eventually(lambda: self.process.poll() is not None or self._answers())
        assert self.process.poll() is None, self.said()

    def _answers(self) -> bool:
        try:
            return self.get("/ready")[0] == 200
        except OSError:
            return False

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def connect(self, timeout: float = 10.0) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(
            HOST, self.port, timeout=timeout, context=self.context
        )

    def get(self, path: str) -> tuple[int, bytes]:
        connection = self.connect()
        try:
            connection.request("GET", path)
            reply = connection.getresponse()
            return reply.status, reply.read()
        finally:
            connection.close()

    def subject(self) -> str:
        """The name in the certificate that a new connection gets."""
        connection = self.connect()
        connection.connect()
        try:
            assert isinstance(connection.sock, ssl.SSLSocket)
            shown: Any = connection.sock.getpeercert()
        finally:
            connection.close()
        return str(shown["subject"][0][0][1])

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def stop(self) -> int:
        """Ask it to end; return its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(20)
            raise


@contextmanager
def serving(
    folder: Path, context: ssl.SSLContext, **settings: Any
) -> Iterator[TlsRegistry]:
    registry = TlsRegistry(folder, context, **settings)
    try:
        registry.wait_until_up()
        yield registry
    finally:
        registry.stop()
