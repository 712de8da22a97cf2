"""The checks that a service asks for by name, beside its mode's own."""

import dataclasses
from typing import Final, Literal, get_args

import msgspec

from modularity_registry.model.location import Location, parse_location

CheckKind = Literal["http", "https", "tcp", "grpc", "ttl", "module"]

CHECK_KINDS: Final[tuple[CheckKind, ...]] = get_args(CheckKind)

HTTP_KINDS: Final[frozenset[str]] = frozenset({"http", "https", "module"})

HIDDEN: Final = "(hidden)"
"""What replies show in place of what may be a secret."""


class JsonExpectation(msgspec.Struct, frozen=True, gc=False):
    """The value that a field of a JSON answer must have; ``path`` is like ``a.b.0``."""

    path: str
    value: str | int | float | bool | None


class Expectation(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Which answer is good. ``status`` holds codes, and ranges as ``200-299``."""

    status: tuple[int | str, ...] = ()
    json: JsonExpectation | None = None


class TlsOptions(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """How a check judges the server's certificate."""

    verify: bool = True
    server_name: str = ""


class Invoke(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A harmless call of a module, and what its answer must have."""

    capability: str
    params: msgspec.Raw = msgspec.Raw(b"{}")
    expect: JsonExpectation | None = None


class ServiceCheck(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One check, as it was registered and is stored.

    None leaves a field to the registry's settings, and ``port`` to the service's
    location. Only a ``critical`` check can make the service unhealthy. One of kind
    ``ttl`` is reported by the service itself, at least every ``ttl`` seconds.
    """

    name: str
    kind: CheckKind
    critical: bool = True
    port: int | None = None
    path: str = ""
    method: str = "GET"
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    body: str = ""
    expect: Expectation | None = None
    service: str = ""
    tls: TlsOptions | None = None
    interval: float | None = None
    timeout: float | None = None
    fall: int | None = None
    rise: int | None = None
    ttl: float | None = None
    invoke: Invoke | None = None

    def location(self, location: str, mode: str) -> Location:
        """Return where to check a service registered at ``location``.

        It is always the service's own host: its address policy holds for the check.
        Raises `InvalidLocation`.
        """
        own = parse_location(location, mode)
        return dataclasses.replace(
            own,
            mode="http" if self.kind in HTTP_KINDS else self.kind,
            scheme=own.scheme if self.kind == "module" else self.kind,
            port=self.port or own.port,
            # Another port is another server, which need not know the prefix.
            path="" if self.port else own.path,
        )

    def shown(self) -> "ServiceCheck":
        """Return the check as replies show it: without what may be a secret."""
        return msgspec.structs.replace(
            self,
            headers=dict.fromkeys(self.headers, HIDDEN),
            body=HIDDEN if self.body else "",
        )


def named(checks: tuple[ServiceCheck, ...], name: str) -> ServiceCheck | None:
    """Return the check with this name, if there is one."""
    return next((check for check in checks if check.name == name), None)
