"""The members of an etcd cluster: which one to ask, and with what token."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

import grpc
from pyetcd import etcdrpc as rpc  # type: ignore[import-untyped]  # has no stubs

from modularity_registry.errors import StoreError, StoreUnavailable
from modularity_registry.stores.etcd import errors
from modularity_registry.stores.etcd.connection import Line, read_credentials
from modularity_registry.stores.server_url import Server

log = logging.getLogger(__name__)

Metadata = tuple[tuple[str, str], ...]

# A member that has lost its leader says so at once, in place of waiting for one.
_WITH_LEADER: Final = (("hasleader", "true"),)


class Cluster:
    """What all lines of one store share: the member that answers, and the token."""

    def __init__(self, server: Server, timeout: float) -> None:
        """Raises `StoreUnavailable` when a file of TLS can't be read."""
        self.server = server
        self.timeout = timeout
        self._credentials = read_credentials(server.tls)
        self._choice = 0
        self._token: str | None = None
        self._entry = threading.Lock()
        self._warned = False

    def open(self, member: int) -> Line:
        return Line(self.server.hosts[member], self._credentials, self.timeout)

    def members(self) -> Iterator[int]:
        """Yield all members, first the one that answered last."""
        first, number = self._choice, len(self.server.hosts)
        return ((first + step) % number for step in range(number))

    def leave(self, member: int) -> None:
        """Ask another one first from now on."""
        if self._choice == member:
            self._choice = (member + 1) % len(self.server.hosts)

    def forget_token(self, metadata: Metadata) -> None:
        """Authenticate anew before the next call, unless somebody has done so."""
        if metadata == _metadata(self._token):
            self._token = None

    def renew_token(self) -> None:
        """Authenticate anew before the next call."""
        self._token = None

    def metadata(self, line: Line) -> Metadata:
        """Return what goes with each call; raises `NotAsked` or `StoreUnavailable`."""
        token = self._token
        if token is None and self.server.user:
            token = self._authenticate(line)
        return _metadata(token)

    def _authenticate(self, line: Line) -> str:
        # The one lock that is held over a call: etcd takes a good part of a second
        # to check a password, and all writers would ask at once.
        if not self._entry.acquire(timeout=self.timeout):
            raise StoreUnavailable(
                f"etcd at {self.server} does not check the password in time"
            )
        try:
            if self._token is None:
                self._token = self._ask_token(line)
            return self._token
        finally:
            self._entry.release()

    def _ask_token(self, line: Line) -> str:
        request = rpc.AuthenticateRequest(
            name=self.server.user, password=self.server.password
        )
        try:
            reply = line.authenticate(
                request, timeout=self.timeout, metadata=_WITH_LEADER
            )
        except grpc.RpcError as error:
            if not errors.auth_is_off(error):
                raise errors.NotAsked(error) from error
            if not self._warned:
                self._warned = True
                log.warning("etcd at %s asks nobody for a password", self.server)
            return ""
        return str(reply.token)


def _metadata(token: str | None) -> Metadata:
    return (*_WITH_LEADER, ("token", token)) if token else _WITH_LEADER


class Ask(Protocol):
    """A call of gRPC's."""

    def __call__(self, request: Any, *, timeout: float, metadata: Metadata) -> Any: ...


class Lines:
    """A line to each member that is asked; any thread may use them.

    What is asked is asked of one member after the other, as long as that can't make
    it happen twice. All errors are `StoreError`.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._lock = threading.Lock()
        self._lines: dict[int, Line] = {}
        self._closed = False

    def read(self, request: Any) -> Any:
        """Return the answer to a ``RangeRequest``."""
        return self._ask(lambda line: line.range, request, write=False)

    def write(self, request: Any) -> Any:
        """Carry out a ``TxnRequest`` once, or fail."""
        return self._ask(lambda line: line.txn, request, write=True)

    def repeat(self, request: Any) -> Any:
        """Carry out a ``TxnRequest`` that may be carried out twice."""
        return self._ask(lambda line: line.txn, request, write=False)

    def stream(self, requests: Iterator[Any]) -> tuple[int, Any]:
        """Return the member that is watched, and the stream of its answers."""
        member = next(self.cluster.members())
        try:
            line = self._line(member)
            return member, line.watch(requests, metadata=self.cluster.metadata(line))
        except errors.NotAsked as error:
            raise self.failure(error.error, member) from error
        except ValueError as error:
            raise self._misused(error) from error

    def failure(
        self, error: grpc.RpcError, member: int, unknown: bool = False
    ) -> StoreError:
        """Return the store's error; another member is asked next if that may help.

        ``unknown`` is whether it may have ended a write that was carried out.
        """
        if self._closed:
            write = ", the outcome of the write is unknown" if unknown else ""
            return StoreUnavailable(f"the etcd store was closed{write}")
        if errors.away(error):
            self.cluster.leave(member)
        return errors.explain(error, self.cluster.server, unknown)

    def close(self) -> None:
        """End all calls under way and take no more. Idempotent."""
        with self._lock:
            self._closed = True
            lines = list(self._lines.values())
            self._lines.clear()
        for line in lines:
            line.close()

    def _ask(self, pick: Callable[[Line], Ask], request: Any, write: bool) -> Any:
        timeout = self.cluster.timeout
        # However many members there are, the caller waits twice as long at most.
        end = time.monotonic() + 2 * timeout
        failure: StoreError | None = None
        for member in self.cluster.members():
            left = min(timeout, end - time.monotonic())
            if failure is not None and left <= 0:
                break
            try:
                return self._ask_one(member, pick, request, left)
            except errors.NotAsked as caught:
                error, unknown = caught.error, False
            except grpc.RpcError as caught:
                error, unknown = caught, write and not errors.unsent(caught)
            except ValueError as caught:
                raise self._misused(caught) from caught
            failure = self.failure(error, member, unknown)
            failure.__cause__ = error
            if unknown or not errors.away(error):
                break
        assert failure is not None
        raise failure

    def _ask_one(
        self, member: int, pick: Callable[[Line], Ask], request: Any, timeout: float
    ) -> Any:
        line = self._lines.get(member) or self._line(member)
        metadata = self.cluster.metadata(line)
        try:
            return pick(line)(request, timeout=timeout, metadata=metadata)
        except grpc.RpcError as error:
            if not self.cluster.server.user or not errors.stale_token(error):
                raise
            self.cluster.forget_token(metadata)
        metadata = self.cluster.metadata(line)
        return pick(line)(request, timeout=timeout, metadata=metadata)

    def _line(self, member: int) -> Line:
        with self._lock:
            if self._closed:
                raise StoreUnavailable("the etcd store is closed")
            line = self._lines.get(member)
            if line is None:
                line = self._lines[member] = self.cluster.open(member)
            return line

    def _misused(self, error: ValueError) -> Exception:
        # gRPC's way to say that the channel was closed a moment ago.
        if self._closed:
            return StoreUnavailable("the etcd store is closed")
        return error
