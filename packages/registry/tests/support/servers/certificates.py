"""A throw-away certificate authority, made with the ``openssl`` program."""

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from support.servers.program import missing


class Certificate(NamedTuple):
    """Two files in PEM."""

    cert: Path
    key: Path


class Authority:
    """Signs certificates for this machine; its own is ``ca``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._program = shutil.which("openssl") or missing("openssl", "openssl")
        self._own = Certificate(folder / "ca.pem", folder / "ca.key")
        self._openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", "/CN=an authority for tests"),
            *("-keyout", self._own.key, "-out", self._own.cert),
        )

    @property
    def ca(self) -> Path:
        return self._own.cert

    def sign(self, name: str) -> Certificate:
        """Return a certificate for 127.0.0.1, for either end of a connection."""
        made = Certificate(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        request, extensions = self.folder / f"{name}.csr", self.folder / f"{name}.ext"
        extensions.write_text(
            "subjectAltName=IP:127.0.0.1,DNS:localhost\n"
            "extendedKeyUsage=serverAuth,clientAuth\n"
        )
        self._openssl(
            *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-subj", f"/CN={name}", "-keyout", made.key, "-out", request),
        )
        self._openssl(
            *("x509", "-req", "-in", request, "-days", "2", "-out", made.cert),
            *("-CA", self._own.cert, "-CAkey", self._own.key, "-CAcreateserial"),
            *("-extfile", extensions),
        )
        return made

    def _openssl(self, *arguments: str | Path) -> None:
        command = [self._program, *map(str, arguments)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
