"""Exit with 0 if the registry of this container answers, so that nobody needs curl.

It is asked where its environment says that it listens; or at the URL that is given.
"""

import contextlib
import http.client
import os
import socket
import ssl
import sys
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

TIMEOUT = 4
# Whose certificate it is makes no difference to whether the process works.
TLS = ssl.create_default_context()
TLS.check_hostname, TLS.verify_mode = False, ssl.CERT_NONE


def is_set(environ: Mapping[str, str], name: str) -> bool:
    """Say whether a setting names a file."""
    return environ.get(name) not in (None, "", "off")


def own_url(environ: Mapping[str, str]) -> str:
    """Return where a registry with these settings answers."""
    host = (environ.get("REGISTRY_HOST") or "127.0.0.1").strip("[]")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    scheme = "https" if is_set(environ, "REGISTRY_TLS_CERT") else "http"
    address = f"[{host}]" if ":" in host else host
    return f"{scheme}://{address}:{environ.get('REGISTRY_PORT') or 5000}/health"


def status(url: SplitResult) -> int:
    """Return the status of the reply."""
    host, port = url.hostname or "", url.port
    connection = (
        http.client.HTTPSConnection(host, port, timeout=TIMEOUT, context=TLS)
        if url.scheme == "https"
        else http.client.HTTPConnection(host, port, timeout=TIMEOUT)
    )
    connection.request("GET", url.path)
    return connection.getresponse().status


def shakes_hands(url: SplitResult) -> bool:
    """Say whether it speaks TLS, if only to tell that it wants a certificate."""
    with (
        socket.create_connection((url.hostname, url.port), TIMEOUT) as plain,
        contextlib.suppress(ssl.SSLError),
    ):
        TLS.wrap_socket(plain).close()
    return True


def healthy(url: SplitResult, environ: Mapping[str, str]) -> bool:
    """Say whether the registry there answers."""
    if is_set(environ, "REGISTRY_TLS_CLIENT_CA"):
        return shakes_hands(url)
    return status(url) == 200


if __name__ == "__main__":
    target = urlsplit(sys.argv[1] if len(sys.argv) > 1 else own_url(os.environ))
    try:
        sys.exit(0 if healthy(target, os.environ) else 1)
    except (OSError, http.client.HTTPException) as error:
        sys.exit(f"{target.geturl()}: {error}")
