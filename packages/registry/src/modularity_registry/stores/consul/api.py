"""The calls to Consul's HTTP API that the store makes, over py-consul."""

import http.client
import ssl
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

import consul.std  # type: ignore[import-untyped]  # it has no types
import msgspec
import requests
import urllib3
from urllib3.exceptions import NewConnectionError

from modularity_registry.errors import (
    OutcomeUnknown,
    StoreCorrupt,
    StoreError,
    StoreUnavailable,
)
from modularity_registry.stores.consul.connection import (
    OpenConnections,
    TrackingAdapter,
)
from modularity_registry.stores.consul.layout import Pair
from modularity_registry.stores.server_url import Server, Tls

_CONNECT_SECONDS: Final = 3.0
# Consul builds the whole answer before it sends the first byte.
_TREE_FACTOR: Final = 4

_FAILURES: Final = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
)


class Operation(msgspec.Struct, rename="pascal", frozen=True, omit_defaults=True):
    """One step of a transaction. ``index`` is for cas, where 0 means a new entry."""

    verb: str
    key: str
    value: bytes | None = None
    flags: int = 0
    index: int = 0


class _Step(msgspec.Struct, frozen=True):
    KV: Pair


class _Error(msgspec.Struct, rename="pascal", frozen=True):
    what: str = ""


class _Reply(msgspec.Struct, rename="pascal", frozen=True):
    results: list[_Step] | None = None
    errors: list[_Error] | None = None


_T = TypeVar("_T")


class _Http(consul.std.HTTPClient):  # type: ignore[misc]  # it has no types
    """The driver's client, with timeouts and connections that can be cut."""

    def __init__(
        self, *arguments: Any, connections: OpenConnections, timeout: float
    ) -> None:
        super().__init__(*arguments, connections_timeout=timeout)
        # No proxies, passwords or CAs from the environment.
        self.session.trust_env = False
        # A redirect would send the token to another server.
        self.session.max_redirects = 0
        # Compression costs more time than it saves on a local network.
        self.session.headers["Accept-Encoding"] = "identity"
        self.session.mount(self.base_uri, TrackingAdapter(connections))

    def timeout(self, params: Any) -> tuple[float, float]:
        seconds: float = super().timeout(params)
        if "recurse" in dict(params or ()):
            seconds *= _TREE_FACTOR
        return min(seconds, _CONNECT_SECONDS), seconds

    def close(self) -> None:
        self.session.close()


class _Client(consul.std.Consul):  # type: ignore[misc]  # it has no types
    def __init__(
        self, server: Server, connections: OpenConnections, timeout: float
    ) -> None:
        self._connections, self._timeout = connections, timeout
        host, tls = server.hosts[0], server.tls
        super().__init__(
            host=f"[{host.name}]" if ":" in host.name else host.name,
            port=host.port,
            scheme="https" if tls else "http",
            verify=_authorities(tls),
            cert=(tls.cert, tls.key) if tls and tls.cert else None,
        )
        # The driver would prefer a token from the environment.
        self.token = server.password or None

    def http_connect(self, *arguments: Any) -> _Http:
        return _Http(*arguments, connections=self._connections, timeout=self._timeout)


class ConsulApi:
    """One client. Every method raises `StoreUnavailable` without an answer, but `write`
    `OutcomeUnknown`, unless it was never sent.

    Any thread may call any method.
    """

    def __init__(self, server: Server, timeout: float) -> None:
        self._server = server
        if not server.password.isprintable() or not server.password.isascii():
            raise StoreUnavailable("the token for Consul must be printable ASCII")
        self._connections = OpenConnections()
        self._client = _Client(server, self._connections, timeout)

    def get(self, name: str, index: int = 0, wait: str = "") -> Pair | None:
        """Return an entry, never a stale one; None if there is none.

        With ``index`` and ``wait`` it waits until the entry has changed since that
        index, at most for that time.
        """
        params = {"consistent": "1"}
        if index:
            params |= {"index": str(index), "wait": wait}
        pairs = self._get(name, params)
        return pairs[0] if pairs else None

    def tree(self, start: str) -> list[Pair]:
        """Return all entries whose names begin with ``start``, all at one moment."""
        return self._get(start, {"consistent": "1", "recurse": "1"})

    def get_all(self, names: Sequence[str]) -> list[Pair] | None:
        """Return up to 64 entries in order; None if one of them is missing."""
        answer = self._transact([Operation("get", name) for name in names], reads=True)
        return None if answer.errors else _pairs(answer)

    def find(self, names: Iterable[str]) -> dict[str, Pair]:
        """Return the existing ones of up to 64 entries, all at one moment."""
        names = list(names)
        operations = [Operation("get-tree", name) for name in names]
        pairs = {
            pair.key: pair for pair in _pairs(self._transact(operations, reads=True))
        }
        return {name: pairs[name] for name in names if name in pairs}

    def write(self, operations: Sequence[Operation]) -> int | None:
        """Carry out all ``operations`` and return the index of this write.

        Returns None, with nothing written, when one of their comparisons failed.
        """
        answer = self._transact(operations, reads=False)
        if answer.errors:
            return None
        return max(pair.modify_index for pair in _pairs(answer))

    def close(self) -> None:
        """End all running calls and refuse new ones. Idempotent."""
        self._connections.cut()
        self._client.http.close()

    def _get(self, name: str, params: Mapping[str, str]) -> list[Pair]:
        try:
            answer = self._client.http.get(
                lambda response: response,
                f"/v1/kv/{name}",
                params=list(params.items()),
                headers=self._client.prepare_headers(),
                raw=True,
            )
        except _FAILURES as error:
            raise self._unreachable(error, writes=False) from error
        if answer.code == 404:
            return []
        self._require_success(answer.code, answer.body.decode(errors="replace"))
        return self._decoded(answer.body, list[Pair])

    def _transact(self, operations: Sequence[Operation], reads: bool) -> _Reply:
        try:
            # Not the driver's txn.put, which omits the token.
            answer = self._client.http.put(
                lambda response: response,
                "/v1/txn",
                params=[("consistent", "1")] if reads else None,
                headers=self._client.prepare_headers(),
                data=msgspec.json.encode([{"KV": step} for step in operations]),
            )
        except _FAILURES as error:
            raise self._unreachable(error, writes=not reads) from error
        if answer.code != 409:
            self._require_success(answer.code, answer.body, writes=not reads)
        decoded = self._decoded(answer.body, _Reply)
        if any("ermission denied" in error.what for error in decoded.errors or ()):
            raise self._refused()
        return decoded

    def _require_success(self, code: int, body: str, writes: bool = False) -> None:
        """Raise unless ``code`` is 200."""
        if code == 200:
            return
        if code in (401, 403):
            raise self._refused()
        reason = " ".join(body.split())[:200] or "no reason given"
        if self._server.password and self._server.password in reason:
            reason = "the reason is not shown: it repeats the token"
        # Without a leader, Consul does not begin a write.
        is_unknown = writes and code >= 500 and "No cluster leader" not in body
        problem = f"Consul at {self._server} failed with status {code} ({reason})"
        raise _failure(problem, writes, is_unknown)

    def _refused(self) -> StoreUnavailable:
        problem = "refuses the token" if self._server.password else "needs a token"
        return StoreUnavailable(
            f"Consul at {self._server} {problem}; use consul://:token@host with one "
            f'that has the policy key_prefix "{self._server.prefix}/" '
            '{ policy = "write" }'
        )

    def _unreachable(self, error: Exception, writes: bool) -> StoreError:
        if isinstance(error, requests.exceptions.SSLError):
            problem = "does not agree on TLS; check tls=true, ca, cert and key"
        elif isinstance(error, requests.Timeout):
            problem = "did not answer in time"
        else:
            problem = "can't be reached"
        is_unknown = writes and not _never_sent(error)
        return _failure(f"Consul at {self._server} {problem}", writes, is_unknown)

    def _decoded(self, body: bytes | str, kind: type[_T]) -> _T:
        try:
            return msgspec.json.decode(body, type=kind)
        except msgspec.DecodeError as error:
            raise StoreCorrupt(
                f"the server at {self._server} does not answer like Consul; "
                "check the host and the port"
            ) from error


def _failure(problem: str, writes: bool, is_unknown: bool) -> StoreError:
    if is_unknown:
        return OutcomeUnknown.because(problem)
    return StoreUnavailable(f"{problem}; nothing was written" if writes else problem)


def _never_sent(error: Exception) -> bool:
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(error, requests.ConnectTimeout) or isinstance(
        reason, NewConnectionError
    )


def _pairs(answer: _Reply) -> list[Pair]:
    return [step.KV for step in answer.results or ()]


def _authorities(tls: Tls | None) -> bool | str:
    if tls is None:
        return True
    # The system's CAs: requests would use those of the certifi package.
    paths = ssl.get_default_verify_paths()
    return tls.ca or paths.cafile or paths.capath or True
