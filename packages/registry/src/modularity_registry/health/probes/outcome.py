"""What a check is asked and what it says, and every error in plain words."""

import errno
import socket
import ssl
from dataclasses import dataclass
from typing import Final

import aiohttp

from modularity_registry.errors import AddressRefused
from modularity_registry.model.checks import ServiceCheck
from modularity_registry.model.location import Location
from modularity_registry.model.service import Registration
from modularity_registry.model.status import DEFAULT_CHECK_PATH

HEAD_LINE_LIMIT: Final = 32_768
"""Bytes of one header of an answer, or of its first line."""

HEADERS_LIMIT: Final = 500
"""Headers of an answer."""


@dataclass(frozen=True, slots=True)
class Target:
    """A service to check. ``path`` is for HTTP only; ``timeout`` is total seconds.

    ``loopback`` says whether the check may connect to loopback. ``check`` is the one
    of its own checks to make, None for the check of its mode.
    """

    registration: Registration
    path: str = DEFAULT_CHECK_PATH
    timeout: float = 5.0
    loopback: bool = True
    check: ServiceCheck | None = None

    @property
    def location(self) -> Location:
        """Where to connect to; raises `InvalidLocation`."""
        registration = self.registration
        if self.check is None:
            return registration.parsed_location
        return self.check.location(registration.location, registration.mode)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a check found.

    ``kind`` is a word for programs: ``ok``; ``warning`` where the service says so of
    itself, which is ``ok`` too; ``refused``, ``unreachable``, ``closed``,
    ``timeout``, ``dns``, ``tls`` where there was no full answer; ``status`` and
    ``protocol`` where the answer was bad; ``mismatch`` where a module is not what it
    registered; ``policy`` where the registry may not
    connect; ``local`` where the registry itself is in trouble, which says nothing of
    the service. ``message`` is for people. ``latency_ms`` is milliseconds.
    """

    ok: bool
    latency_ms: float
    message: str
    kind: str

    @property
    def warns(self) -> bool:
        """Whether the service has answered with a warning."""
        return self.kind == "warning"


class CheckFailed(Exception):
    """A check's verdict that is no plain success: of this kind, for this reason."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


class ConnectForbidden(OSError):
    """The address policy, as the only error that a connector passes through."""

    def __init__(self, refused: AddressRefused) -> None:
        super().__init__(errno.EACCES, refused.detail)
        self.refused = refused


_LOCAL: Final = ("local", "the registry's machine is out of sockets, ports or memory")
_UNREACHABLE: Final = ("unreachable", "there is no network route to the host")
_RESET: Final = ("closed", "the connection was reset")
_BY_ERRNO: Final = {
    errno.ECONNREFUSED: ("refused", "connection refused"),
    errno.ECONNRESET: _RESET,
    errno.ECONNABORTED: _RESET,
    errno.EPIPE: _RESET,
    errno.EHOSTUNREACH: _UNREACHABLE,
    errno.ENETUNREACH: _UNREACHABLE,
    errno.ENETDOWN: _UNREACHABLE,
    errno.EHOSTDOWN: _UNREACHABLE,
    errno.EAFNOSUPPORT: ("unreachable", "this machine has no IPv6"),
    errno.ETIMEDOUT: ("timeout", "the host did not answer"),
    errno.EACCES: ("unreachable", "this machine's firewall forbids the connection"),
    errno.EPERM: ("unreachable", "this machine's firewall forbids the connection"),
    errno.EMFILE: _LOCAL,
    errno.ENFILE: _LOCAL,
    errno.ENOBUFS: _LOCAL,
    errno.ENOMEM: _LOCAL,
    errno.EADDRNOTAVAIL: _LOCAL,
}


def explain(error: Exception) -> tuple[str, str]:
    """Return the kind and the message that fit an error raised during a check."""
    match error:
        case CheckFailed():
            return error.kind, error.message
        case ConnectForbidden():
            return "policy", error.refused.detail
        case AddressRefused():
            return "policy", error.detail
        case aiohttp.ClientConnectorCertificateError():
            return "tls", _certificate(error.certificate_error)
        case aiohttp.ClientConnectorSSLError() | ssl.SSLError():
            return "tls", "the TLS handshake failed: is it an https port?"
        case aiohttp.ClientConnectorError():
            return explain(error.os_error)
        case aiohttp.ServerDisconnectedError():
            return "closed", "the connection was closed without an answer"
        case aiohttp.ClientPayloadError():
            return "closed", "the answer was cut off"
        case aiohttp.ClientResponseError():
            return "protocol", _bad_answer(error.message)
        case TimeoutError():
            return "timeout", "no answer in time"
        case OSError():
            return _system(error)
    return "local", f"the check itself failed with {type(error).__name__}"


def _certificate(error: Exception) -> str:
    why = getattr(error, "verify_message", "") or "it does not fit the host"
    return f"the certificate is not trusted: {why}"


def _bad_answer(parser_message: str) -> str:
    # All of the parser's errors are of one type here.
    if parser_message.startswith("Got more than"):
        return f"a line of the answer's head is longer than {HEAD_LINE_LIMIT:,} bytes"
    if parser_message.startswith("Too many headers"):
        return f"the answer has more than {HEADERS_LIMIT} headers"
    return "the answer is not valid HTTP"


def _system(error: OSError) -> tuple[str, str]:
    if isinstance(error, socket.gaierror):
        return "dns", f"the host name can't be looked up: {error.strerror}"
    known = _BY_ERRNO.get(error.errno or 0)
    return known or ("unreachable", f"can't connect: {error.strerror or error}")
