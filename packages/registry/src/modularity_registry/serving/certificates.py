"""Certificates and keys: read whole, judged, and kept as they were judged.

The server's TLS library ends the process over a pair that it does not like, so nothing
reaches it that has not been tried: first here, then by `certificate_trial` in a
process of its own, on the very bytes that will be served.
"""

import hashlib
import os
import subprocess  # nosec B404  # this Python, for a trial before anything is served
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from modularity_registry.config import OFF, Settings
from modularity_registry.errors import BadSetting

_TRIAL = "modularity_registry.serving.certificate_trial"
_TRIAL_SECONDS = 30.0
_LARGEST = 1_048_576


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


@dataclass(frozen=True, slots=True)
class Span:
    """When a certificate holds, both ends included."""

    begins: datetime
    ends: datetime

    def fault(self, now: datetime) -> str | None:
        """Return what is wrong with the time; None if nothing is."""
        if now > self.ends:
            return f"expired on {self.ends:%Y-%m-%d %H:%M} UTC"
        if now < self.begins:
            return f"is not valid before {self.begins:%Y-%m-%d %H:%M} UTC"
        return None


class Material:
    """A certificate chain, its key and perhaps a CA, as they were when read.

    ``cert``, ``key`` and ``ca`` are paths that hold these bytes, whatever becomes of
    the files. ``served`` is when all of the chain holds, ``accepted`` the same for the
    first of the callers' CAs to expire.
    """

    def __init__(
        self,
        contents: Sequence[bytes],
        paths: Sequence[str],
        served: Span,
        accepted: Span | None,
        min_version: str,
    ) -> None:
        self.digest = _digest(contents)
        self.served = served
        self.accepted = accepted
        self.min_version = min_version
        self._held: list[int] = []
        kept = [
            self._hold(content, path)
            for content, path in zip(contents, paths, strict=True)
        ]
        self.cert, self.key = kept[:2]
        self.ca = kept[2] if len(kept) == 3 else None

    def _hold(self, content: bytes, path: str) -> str:
        # In memory alone, so no key lies about; where there is no such thing, what is
        # tried is the file itself.
        if not (hasattr(os, "memfd_create") and os.path.isdir("/proc/self/fd")):
            return path
        fd = os.memfd_create("modularity-registry-tls")
        self._held.append(fd)
        written = 0
        while written < len(content):
            written += os.write(fd, content[written:])
        return f"/proc/self/fd/{fd}"

    def try_out(self) -> None:
        """Raise `BadSetting` if the server's TLS library can't serve this."""
        command = [sys.executable, "-m", _TRIAL, self.min_version, self.cert, self.key]
        command += [self.ca] if self.ca else []
        try:
            # No shell, and nothing that a caller sent.
            tried = subprocess.run(  # nosec B603
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                pass_fds=self._held,
                timeout=_TRIAL_SECONDS,
                text=True,
                errors="replace",
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise BadSetting(
                f"certificate and key could not be tried: {error}"
            ) from None
        if tried.returncode != 0:
            raise BadSetting(
                "the server's TLS library can't serve this certificate and key:"
                f" {_last_words(tried.stderr)}; use a key of RSA (2048 bits or more),"
                " P-256, P-384 or Ed25519 and a certificate of X.509 version 3"
            )

    def close(self) -> None:
        """Give the copies back. Idempotent."""
        while self._held:
            os.close(self._held.pop())


def digest(files: Files) -> str:
    """Return what tells one state of the files from another.

    Raises `BadSetting` when one of them can't be read.
    """
    return _digest(_read(files))


def load(files: Files) -> Material:
    """Return what the files hold, tried out; its dates are not judged.

    Raises `BadSetting` with one line that names the setting and says what to do.
    """
    contents = _read(files)
    chain = _certificates("--tls-cert", files.cert, contents[0])
    _check_key(files, contents[1], chain)
    accepted = None
    if files.client_ca is not None:
        authorities = _certificates("--tls-client-ca", files.client_ca, contents[2])
        accepted = min(map(_span, authorities), key=lambda span: span.ends)
    material = Material(
        contents,
        [path for _, path in _named(files)],
        _common(list(map(_span, chain))),
        accepted,
        files.min_version,
    )
    try:
        material.try_out()
    except BadSetting:
        material.close()
        raise
    return material


def _named(files: Files) -> list[tuple[str, str]]:
    named = [("--tls-cert", files.cert), ("--tls-key", files.key)]
    if files.client_ca is not None:
        named.append(("--tls-client-ca", files.client_ca))
    return named


def _read(files: Files) -> list[bytes]:
    return [_content(name, path) for name, path in _named(files)]


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


def _check_key(files: Files, content: bytes, chain: list[x509.Certificate]) -> None:
    try:
        key = load_pem_private_key(content, password=None)
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
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    own = key.public_key().public_bytes(*form)
    matching = []
    for certificate in chain:
        try:
            matching.append(certificate.public_key().public_bytes(*form) == own)
        except (ValueError, UnsupportedAlgorithm):
            matching.append(False)
    if not any(matching):
        raise BadSetting(
            f"--tls-key {files.key} does not belong to the certificate in --tls-cert"
            f" {files.cert}; give the key that it was made with"
        )
    if not matching[0]:
        raise BadSetting(
            f"--tls-cert {files.cert} does not begin with the certificate that"
            f" --tls-key {files.key} belongs to; write the server's own first, then"
            " those that signed it"
        )


def _span(certificate: x509.Certificate) -> Span:
    return Span(certificate.not_valid_before_utc, certificate.not_valid_after_utc)


def _common(spans: list[Span]) -> Span:
    # A chain holds while all of it does.
    return Span(max(span.begins for span in spans), min(span.ends for span in spans))


def _digest(contents: Sequence[bytes]) -> str:
    parts = [hashlib.sha256(content).hexdigest() for content in contents]
    return " ".join(parts)


def _last_words(output: str) -> str:
    """Return what a panic was about, of all that it wrote."""
    for line in output.splitlines():
        _, separator, reason = line.partition("an `Err` value: ")
        if separator:
            return reason.strip()
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1] if lines else "it printed nothing"


def now() -> datetime:
    """Return the time by which certificates are judged."""
    return datetime.now(UTC)
