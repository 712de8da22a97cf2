"""Certificates and keys: read whole, judged, and tried by a handshake.

What was judged is what is served, whatever becomes of the files meanwhile.
"""

import hashlib
import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from modularity_registry.config import OFF, Settings
from modularity_registry.errors import BadSetting

_LARGEST = 1_048_576
_NO_PAIR = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")
_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
# More than any handshake in memory takes.
_ROUNDS = 8


@dataclass(frozen=True, slots=True)
class Files:
    """Where certificate, key and the callers' CA are, and the oldest TLS spoken.

    With ``client_ca``, every caller has to show a certificate that it has signed.
    """

    cert: str
    key: str
    client_ca: str | None
    min_version: str

    @classmethod
    def of(cls, settings: Settings) -> "Files | None":
        """Return what the settings name; None where they ask for no TLS."""
        if settings.tls_cert == OFF:
            return None
        ca = None if settings.tls_client_ca == OFF else settings.tls_client_ca
        return cls(settings.tls_cert, settings.tls_key, ca, settings.tls_min_version)

    def read(self) -> list[bytes]:
        """Return what certificate, key and CA (if any) hold.

        Raises `BadSetting` when one of them can't be read.
        """
        named = [("--tls-cert", self.cert), ("--tls-key", self.key)]
        if self.client_ca is not None:
            named.append(("--tls-client-ca", self.client_ca))
        return [_content(name, path) for name, path in named]


@dataclass(frozen=True, slots=True)
class Validity:
    """When a certificate is valid, both ends included."""

    begins: datetime
    ends: datetime

    def fault(self, now: datetime) -> str | None:
        """Return what is wrong with the time; None if nothing is."""
        if now > self.ends:
            return f"expired on {self.ends:%Y-%m-%d %H:%M} UTC"
        if now < self.begins:
            return f"is not valid before {self.begins:%Y-%m-%d %H:%M} UTC"
        return None


@dataclass(frozen=True, slots=True)
class Material:
    """A certificate chain with its key and perhaps a CA, ready to be served.

    ``served`` is when all of the chain is valid, ``accepted`` the same for the first of
    the callers' CAs to expire.
    """

    digest: str
    context: ssl.SSLContext
    served: Validity
    accepted: Validity | None


def digest(contents: list[bytes]) -> str:
    """Return what tells one state of the files from another."""
    return " ".join(hashlib.sha256(content).hexdigest() for content in contents)


def load(files: Files, contents: list[bytes]) -> Material:
    """Return what ``contents``, read from ``files``, is served as; dates don't matter.

    Raises `BadSetting` with one line that names the setting and says what to do.
    """
    chain = _certificates("--tls-cert", files.cert, contents[0])
    context = _context(files, chain, _key(files, contents[1]))
    accepted = None
    if files.client_ca is not None:
        authorities = _certificates("--tls-client-ca", files.client_ca, contents[2])
        _accept_only(context, authorities)
        first = min(authorities, key=lambda each: each.not_valid_after_utc)
        accepted = Validity(first.not_valid_before_utc, first.not_valid_after_utc)
    # A chain is valid while all of it is.
    served = Validity(
        max(each.not_valid_before_utc for each in chain),
        min(each.not_valid_after_utc for each in chain),
    )
    return Material(digest(contents), context, served, accepted)


def _content(name: str, path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            content = file.read(_LARGEST + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise BadSetting(
            f"{name} {path} can't be read: {reason.lower()}; correct the path, or let"
            " the registry's user read it"
        ) from None
    if len(content) > _LARGEST:
        raise BadSetting(f"{name} {path} is over 1 MiB, and no file in PEM is")
    return content


def _certificates(name: str, path: str, content: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError:
        raise BadSetting(
            f"{name} {path} holds no certificate that can be read; it has to be PEM,"
            " with -----BEGIN CERTIFICATE-----"
        ) from None


def _key(files: Files, content: bytes) -> PrivateKeyTypes:
    try:
        return load_pem_private_key(content, password=None)
    except TypeError:
        raise BadSetting(
            f"--tls-key {files.key} is encrypted, and the registry can't ask for"
            " its password; decrypt it (openssl pkey -in old -out new) into a file that"
            " only the registry's user can read"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise BadSetting(
            f"--tls-key {files.key} holds no private key that can be read; it has to"
            " be PEM, with -----BEGIN PRIVATE KEY-----"
        ) from None


def _context(
    files: Files, chain: list[x509.Certificate], key: PrivateKeyTypes
) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[files.min_version]
    context.set_alpn_protocols(["http/1.1"])
    pem = [certificate.public_bytes(Encoding.PEM) for certificate in chain]
    pem.append(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    try:
        with _path_of(b"".join(pem)) as path:
            context.load_cert_chain(path)
        _shake_hands(context)
    except ssl.SSLError as error:
        reason = (error.reason or str(error)).replace("_", " ").lower()
        raise BadSetting(
            f"--tls-key {files.key} does not belong to the first certificate in"
            f" --tls-cert {files.cert}; give the key that it was made with, and write"
            " the server's own certificate before those that signed it"
            if error.reason in _NO_PAIR
            else "the server's TLS library can't serve this certificate and key:"
            f" {reason}; use a key of RSA (2048 bits or more), P-256, P-384 or Ed25519"
            " and a certificate of X.509 version 3"
        ) from None
    context.sslobject_class = _Explained
    return context


class _Explained(ssl.SSLObject):
    """An end of a connection that tells the other why the handshake failed.

    asyncio and uvloop close it at once, the alert unsent. To them, it waits for more:
    the caller closes when it has the alert, and else its time for a handshake ends.
    """

    _failed = False

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except ssl.SSLWantReadError:
            raise
        except ssl.SSLError as error:
            # A caller without TLS would not understand it.
            if self._failed or error.reason == "HTTP_REQUEST":
                raise
            self._failed = True
            raise ssl.SSLWantReadError from error


@contextmanager
def _path_of(content: bytes) -> Iterator[str]:
    """Yield a path that holds ``content``, since `ssl` takes no bytes.

    In memory alone where the system can, so no key lies about.
    """
    memory = hasattr(os, "memfd_create") and os.path.isdir("/proc/self/fd")
    with (
        open(os.memfd_create("certificate"), "wb")
        if memory
        else tempfile.NamedTemporaryFile()
    ) as file:
        file.write(content)
        file.flush()
        yield f"/proc/self/fd/{file.fileno()}" if memory else file.name


def _shake_hands(context: ssl.SSLContext) -> None:
    """Raise `ssl.SSLError` if a usual caller can't connect to ``context``.

    A key that loads is not yet one that a handshake can be signed with.
    """
    usual = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    usual.check_hostname, usual.verify_mode = False, ssl.CERT_NONE
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [usual.wrap_bio(down, up), context.wrap_bio(up, down, server_side=True)]
    for end in ends * _ROUNDS:
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue


def _accept_only(context: ssl.SSLContext, authorities: list[x509.Certificate]) -> None:
    # Each counts by itself, also one that another CA has signed.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(
        cadata=b"".join(each.public_bytes(Encoding.DER) for each in authorities)
    )
    context.verify_mode = ssl.CERT_REQUIRED
