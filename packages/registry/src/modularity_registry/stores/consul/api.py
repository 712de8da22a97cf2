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

from modularity_registry.errors import StoreCorrupt, StoreUnavailable
from modularity_registry.stores.consul.connection import LineAdapter, Lines
from modularity_registry.stores.consul.layout import Pair
from modularity_registry.stores.server_url import Server, Tls

_CONNECT_SECONDS: Final = 3.0
# Consul makes the whole answer before it sends the first byte of it.
_TREE_TIMES: Final = 4

_FAILURES: Final = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
)

_UNKNOWN: Final = "; whether the write was made is unknown, so read before a retry"
_NOTHING: Final = "; nothing has changed"


class Operation(msgspec.Struct, rename="pascal", frozen=True, omit_defaults=True):
    """One step of a transaction. ``index`` is for cas, where 0 means a new entry."""

    verb: str
    key: str
    value: bytes | None = None
    flags: int = 0
    index: int = 0


class _Step(msgspec.Struct, frozen=True):
    KV: Pair


class _Complaint(msgspec.Struct, rename="pascal", frozen=True):
    what: str = ""


class _Answer(msgspec.Struct, rename="pascal", frozen=True):
    results: list[_Step] | None = None
    errors: list[_Complaint] | None = None


_T = TypeVar("_T")


class _Http(consul.std.HTTPClient):  # type: ignore[misc]  # it has no types
    """The driver's client, with connections that can be cut and time limits."""

    def __init__(self, *arguments: Any, lines: Lines, timeout: float) -> None:
        super().__init__(*arguments, connections_timeout=timeout)
        # No proxies, passwords or authorities out of the environment.
        self.session.trust_env = False
        # A redirect would take the token to another server.
        self.session.max_redirects = 0
        # Packing and unpacking costs more than a local network does.
        self.session.headers["Accept-Encoding"] = "identity"
        self.session.mount(self.base_uri, LineAdapter(lines))

    def timeout(self, params: Any) -> tuple[float, float]:
        seconds: float = super().timeout(params)
        if "recurse" in dict(params or ()):
            seconds *= _TREE_TIMES
        return min(seconds, _CONNECT_SECONDS), seconds

    def close(self) -> None:
        self.session.close()


class _Client(consul.std.Consul):  # type: ignore[misc]  # it has no types
    def __init__(self, server: Server, lines: Lines, timeout: float) -> None:
        self._lines, self._timeout = lines, timeout
        host, tls = server.hosts[0], server.tls
        super().__init__(
            host=f"[{host.name}]" if ":" in host.name else host.name,
            port=host.port,
            scheme="https" if tls else "http",
            verify=_authorities(tls),
            cert=(tls.cert, tls.key) if tls and tls.cert else None,
        )
        # The driver prefers a token from the environment.
        self.token = server.password or None

    def http_connect(self, *arguments: Any) -> _Http:
        return _Http(*arguments, lines=self._lines, timeout=self._timeout)


class ConsulApi:
    """One client. Every method raises `StoreUnavailable` when it gets no answer.

    All methods may be called from any thread.
    """

    def __init__(self, server: Server, timeout: float) -> None:
        self._server = server
        if not server.password.isprintable() or not server.password.isascii():
            raise StoreUnavailable("the token for Consul has characters that none has")
        self._lines = Lines()
        self._client = _Client(server, self._lines, timeout)

    def get(self, name: str, index: int = 0, wait: str = "") -> Pair | None:
        """Return an entry, None when there is none; it is never a stale one.

        With ``index`` and ``wait`` the answer comes when the entry has changed since
        that index, or after that time.
        """
        params = {"consistent": "1"}
        if index:
            params |= {"index": str(index), "wait": wait}
        pairs = self._get(name, params)
        return pairs[0] if pairs else None

    def tree(self, start: str) -> list[Pair]:
        """Return all entries whose names begin with ``start``, as of one moment."""
        return self._get(start, {"consistent": "1", "recurse": "1"})

    def get_all(self, names: Sequence[str]) -> list[Pair] | None:
        """Return up to 64 entries in order; None when one of them is missing."""
        answer = self._transact([Operation("get", name) for name in names], reads=True)
        return None if answer.errors else _pairs(answer)

    def find(self, names: Iterable[str]) -> dict[str, Pair]:
        """Return those of up to 64 entries that there are, as of one moment."""
        wanted = list(names)
        steps = [Operation("get-tree", name) for name in wanted]
        found = {pair.key: pair for pair in _pairs(self._transact(steps, reads=True))}
        return {name: found[name] for name in wanted if name in found}

    def write(self, steps: Sequence[Operation]) -> int | None:
        """Do all of ``steps`` and return the index of this write, or do none of them.

        None when a comparison among them failed. Raises `StoreUnavailable` that says
        whether something may have changed.
        """
        answer = self._transact(steps, reads=False)
        if answer.errors:
            return None
        return max(pair.modify_index for pair in _pairs(answer))

    def close(self) -> None:
        """End all calls that are under way, and refuse new ones. Idempotent."""
        self._lines.cut()
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
            raise self._unreached(error, "") from error
        if answer.code == 404:
            return []
        self._require(answer.code, answer.body.decode(errors="replace"), "")
        return self._decoded(answer.body, list[Pair])

    def _transact(self, steps: Sequence[Operation], reads: bool) -> _Answer:
        try:
            # Not by the driver's txn.put: that one forgets the token.
            answer = self._client.http.put(
                lambda response: response,
                "/v1/txn",
                params=[("consistent", "1")] if reads else None,
                headers=self._client.prepare_headers(),
                data=msgspec.json.encode([{"KV": step} for step in steps]),
            )
        except _FAILURES as error:
            raise self._unreached(error, "" if reads else _UNKNOWN) from error
        if answer.code != 409:
            self._require(answer.code, answer.body, "" if reads else _UNKNOWN)
        decoded = self._decoded(answer.body, _Answer)
        if any("ermission denied" in error.what for error in decoded.errors or ()):
            raise self._refused()
        return decoded

    def _require(self, code: int, said: str, doubt: str) -> None:
        """Raise for all but success; ``doubt`` is what is unsure when Consul failed."""
        if code == 200:
            return
        if code in (401, 403):
            raise self._refused()
        # Its cause is known: without a leader it doesn't begin.
        if code < 500 or "No cluster leader" in said:
            doubt = doubt and _NOTHING
        reason = " ".join(said.split())[:200] or "no reason given"
        if self._server.password and self._server.password in reason:
            reason = "its reason is not shown, for it repeats the token"
        raise StoreUnavailable(
            f"Consul at {self._server} failed with status {code} ({reason}){doubt}"
        )

    def _refused(self) -> StoreUnavailable:
        given = "refuses the token" if self._server.password else "wants a token"
        return StoreUnavailable(
            f"Consul at {self._server} {given}; write consul://:token@host with one "
            f'that has the policy key_prefix "{self._server.prefix}/" '
            '{ policy = "write" }'
        )

    def _unreached(self, error: Exception, doubt: str) -> StoreUnavailable:
        if isinstance(error, requests.exceptions.SSLError):
            what = "can't be spoken to over TLS; check tls=true, ca, cert and key"
        elif isinstance(error, requests.Timeout):
            what = "did not answer in time"
        else:
            what = "can't be reached"
        if doubt and _never_sent(error):
            doubt = _NOTHING
        return StoreUnavailable(f"Consul at {self._server} {what}{doubt}")

    def _decoded(self, body: bytes | str, kind: type[_T]) -> _T:
        try:
            return msgspec.json.decode(body, type=kind)
        except msgspec.DecodeError as error:
            raise StoreCorrupt(
                f"what answers at {self._server} does not speak as Consul does; "
                "check the host and the port"
            ) from error


def _never_sent(error: Exception) -> bool:
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(error, requests.ConnectTimeout) or isinstance(
        reason, NewConnectionError
    )


def _pairs(answer: _Answer) -> list[Pair]:
    return [step.KV for step in answer.results or ()]


def _authorities(tls: Tls | None) -> bool | str:
    if tls is None:
        return True
    # The machine's own, where requests would take those of the certifi package.
    paths = ssl.get_default_verify_paths()
    return tls.ca or paths.cafile or paths.capath or True
