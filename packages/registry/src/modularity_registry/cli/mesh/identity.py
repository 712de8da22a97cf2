"""A sidecar's key and certificate: made here, certified by the registry, renewed."""

import json
import logging
import os
import random
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from modularity_client import Registry, RegistryError
from modularity_registry.cli.mesh import calls
from modularity_registry.model.sidecar import CERTIFICATE, TRUST, path_of

log = logging.getLogger(__name__)

RENEWED_AFTER: Final = (0.4, 0.6)
"""Parts of its lifetime after which a certificate is renewed, by chance in between."""

NEAR_END: Final = 0.2
"""Part of its lifetime that is left when the log says so again and again."""

LONGEST_PAUSE: Final = 30.0
"""Seconds between two looks at the registry, at most."""

_TYPE: Final = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
_PEM: Final = serialization.Encoding.PEM


class Identity:
    """The key and certificate of a service, as files that Envoy reads when they change.

    The key never leaves this machine, and each certificate has a new one. While the
    registry is away, the last certificate stays.
    """

    def __init__(
        self,
        registry: Registry,
        folder: Path,
        service_id: str,
        capabilities: Sequence[str],
        owner_key: str | None,
    ) -> None:
        self._registry = registry
        self._folder = folder
        self._service_id = service_id
        self._capabilities = list(capabilities)
        self._owner_key = owner_key
        self._trust = ""
        self._issuer: x509.Name | None = None
        self._refresh = LONGEST_PAUSE
        self._renew_at = self._expires_at = self._lifetime = 0.0
        self._failing = ""
        self._ending = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name="certificate", daemon=True
        )

    def start(self) -> None:
        """Get the first certificate, then keep it fresh; raises `RegistryError`."""
        self._renew()
        self._thread.start()

    def stop(self) -> None:
        """Renew no more. Idempotent."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(10)

    def _run(self) -> None:
        while not self._ending.wait(self._refresh * random.uniform(0.7, 1.0)):
            try:
                self._look()
            except RegistryError as error:
                self._failed(error.detail)
            except Exception as error:  # if the thread died, so would the certificate
                log.exception("the certificate can't be renewed")
                self._failed(str(error))
            else:
                self._succeeded()

    def _look(self) -> None:
        """Take over other roots, and renew the certificate if it is time."""
        document = self._registry.ask(calls.authority()).value
        self._take_trust(document)
        signs = [root["signs"] for root in document["roots"]]
        if time.time() >= self._renew_at or self._is_behind(signs.index(True)):
            self._renew()

    def _renew(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        request = x509.CertificateSigningRequestBuilder(x509.Name([]))
        csr = request.sign(key, hashes.SHA256()).public_bytes(_PEM).decode()
        call = calls.certificate(
            self._service_id, self._capabilities, csr, self._owner_key
        )
        reply = self._registry.ask(call).value
        # First: with it come certificates of others that may have the same root.
        self._take_trust(reply)
        content = _with_key(reply["certificate"], key)
        self._write(CERTIFICATE, "tls_certificate", content)
        certificate = x509.load_pem_x509_certificate(reply["certificate"].encode())
        self._issuer = certificate.issuer
        self._lifetime = float(reply["certificate_lifetime_seconds"])
        self._expires_at = certificate.not_valid_after_utc.timestamp()
        left = self._expires_at - time.time()
        self._renew_at = time.time() + left * random.uniform(*RENEWED_AFTER)
        log.info("has a certificate until %s", reply["expires_at"])

    def _take_trust(self, document: dict[str, Any]) -> None:
        self._refresh = min(float(document["refresh_seconds"]), LONGEST_PAUSE)
        trust: str = document["trust_bundle"]
        if trust != self._trust:
            content = {"trusted_ca": {"inline_string": trust}}
            self._write(TRUST, "validation_context", content)
            self._trust = trust

    def _is_behind(self, signing: int) -> bool:
        """Say whether the certificate is from an older root than the one that signs.

        Or from none that is trusted, such as those of another authority. After a
        rotation, so, all certificates are soon from the new root.
        """
        roots = x509.load_pem_x509_certificates(self._trust.encode())
        names = [root.subject for root in roots]
        return self._issuer not in names or names.index(self._issuer) < signing

    def _write(self, name: str, kind: str, content: dict[str, Any]) -> None:
        """Put a secret in place of the one before: Envoy sees one or the other."""
        path = self._folder / path_of(name)
        new = path.with_suffix(".new")
        secret = {"@type": _TYPE, "name": name, kind: content}
        file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(file, "w") as out:
            json.dump({"resources": [secret]}, out)
        new.rename(path)

    def _failed(self, reason: str) -> None:
        left = self._expires_at - time.time()
        if left <= 0:
            log.error("the certificate has expired, and calls fail: %s", reason)
        elif left < NEAR_END * self._lifetime:
            log.error("the certificate expires in %.0f s: %s", left, reason)
        elif reason != self._failing:
            log.warning("keeps the certificate, for %.0f s more: %s", left, reason)
        self._failing = reason

    def _succeeded(self) -> None:
        if self._failing:
            log.info("the registry answers again")
            self._failing = ""


def _with_key(certificate: str, key: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
    text = key.private_bytes(
        _PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    return {
        "certificate_chain": {"inline_string": certificate},
        "private_key": {"inline_string": text},
    }
