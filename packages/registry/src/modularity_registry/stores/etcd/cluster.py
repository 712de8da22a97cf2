"""The members of an etcd cluster: which one to call, and with which token."""

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

import grpc
from pyetcd import etcdrpc as rpc  # type: ignore[import-untyped]  # has no stubs

from modularity_registry.errors import OutcomeUnknown, StoreError, StoreUnavailable
from modularity_registry.stores.etcd import errors
from modularity_registry.stores.etcd.connection import Connection, read_credentials
from modularity_registry.stores.etcd.elections import Elections
from modularity_registry.stores.server_url import Server

log = logging.getLogger(__name__)

Metadata = tuple[tuple[str, str], ...]

# A member without a leader answers so at once, instead of waiting for one.
_WITH_LEADER: Final = (("hasleader", "true"),)


class Cluster:
    """What all connections of a store share: the member that answers, and the token.

    ``term`` is the latest term of a leader that a reply has named.
    """

    def __init__(self, server: Server, timeout: float) -> None:
        """Raises `StoreUnavailable` when a file of TLS can't be read."""
        self.server = server
        self.timeout = timeout
        self._credentials = read_credentials(server.tls)
        self.term = 0
        self._choice = 0
        self._token: str | None = None
        self._warned = False

    def open(self) -> tuple[Connection, ...]:
        """Return a connection to each member, none of them open yet."""
        return tuple(
            Connection(host, self._credentials, self.timeout)
            for host in self.server.hosts
        )

    def members(self) -> Iterator[int]:
        """Yield all members, first the one that answered last."""
        first, number = self._choice, len(self.server.hosts)
        return ((first + step) % number for step in range(number))

    def prefer_next(self, member: int) -> None:
        """Call another member first from now on."""
        if self._choice == member:
            self._choice = (member + 1) % len(self.server.hosts)

    def note_term(self, reply: Any) -> None:
        """Remember whose term it is, from the header of a reply."""
        self.term = max(self.term, reply.header.raft_term)

    def drop_token(self) -> None:
        """Authenticate again before the next call."""
        self._token = None

    def metadata(self, connection: Connection) -> Metadata:
        """Return the metadata of a call; raises `NotSent`."""
        token = self._token
        if token is None and self.server.user:
            token = self._token = self._request_token(connection)
        return _metadata(token)

    def _request_token(self, connection: Connection) -> str:
        request = rpc.AuthenticateRequest(
            name=self.server.user, password=self.server.password
        )
        try:
            reply = connection.authenticate(
                request, timeout=self.timeout, metadata=_WITH_LEADER
            )
        except grpc.RpcError as error:
            if not errors.auth_is_off(error):
                raise errors.NotSent(error) from error
            if not self._warned:
                self._warned = True
                log.warning(
                    "etcd at %s checks no passwords: authentication is off", self.server
                )
            return ""
        return str(reply.token)


def _metadata(token: str | None) -> Metadata:
    return (*_WITH_LEADER, ("token", token)) if token else _WITH_LEADER


class Call(Protocol):
    """A call of gRPC."""

    def __call__(self, request: Any, *, timeout: float, metadata: Metadata) -> Any: ...


class ConnectionPool:
    """One connection to each member; any thread may use them.

    A request goes to one member after the other until one answers, unless that could
    carry out a write twice. All errors are `StoreError`.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._connections = cluster.open()
        self._elections = Elections(cluster, self._connections)
        self._closed = False

    def read(self, request: Any) -> Any:
        """Return the answer to a ``RangeRequest``."""
        return self._call(lambda connection: connection.range, request, write=False)

    def write(self, request: Any) -> Any:
        """Carry out a ``TxnRequest`` once, or fail."""
        return self._call(lambda connection: connection.txn, request, write=True)

    def repeat(self, request: Any) -> Any:
        """Carry out a ``TxnRequest`` that may be carried out twice."""
        return self._call(lambda connection: connection.txn, request, write=False)

    def stream(self, requests: Iterator[Any]) -> tuple[int, Any]:
        """Return the member that is watched, and the stream of its responses."""
        member = next(self.cluster.members())
        try:
            connection = self._connections[member]
            return member, connection.watch(
                requests, metadata=self.cluster.metadata(connection)
            )
        except errors.NotSent as error:
            raise self.failure(error.error, member) from error
        except ValueError as error:
            raise self._closed_error() from error

    def failure(
        self, error: grpc.RpcError, member: int, unknown: bool = False
    ) -> StoreError:
        """Return the store's error; another member is called next if that may help.

        With ``unknown`` the failed call may have written.
        """
        if self._closed:
            closed = "the etcd store was closed"
            return (
                OutcomeUnknown.because(closed) if unknown else StoreUnavailable(closed)
            )
        if errors.may_answer_elsewhere(error):
            self.cluster.prefer_next(member)
        return errors.explain(error, self.cluster.server, unknown)

    def leader_changed(self, term: int) -> bool:
        """Return whether a member has a leader of a later term than ``term``."""
        return self._elections.leader_changed(term)

    def close(self) -> None:
        """End all running calls and refuse new ones. Idempotent."""
        self._closed = True
        self._elections.stop()
        for connection in self._connections:
            connection.close()

    def _call(
        self, select: Callable[[Connection], Call], request: Any, write: bool
    ) -> Any:
        timeout = self.cluster.timeout
        # However many members there are, the caller waits twice as long at most.
        end = time.monotonic() + 2 * timeout
        failure: StoreError | None = None
        for member in self.cluster.members():
            remaining = min(timeout, end - time.monotonic())
            if failure is not None and remaining <= 0:
                break
            try:
                return self._call_member(member, select, request, remaining)
            except errors.NotSent as caught:
                error, unknown = caught.error, False
            except grpc.RpcError as caught:
                error, unknown = caught, write and not errors.is_unsent(caught)
            except ValueError as caught:
                raise self._closed_error() from caught
            failure = self.failure(error, member, unknown)
            failure.__cause__ = error
            if unknown or not errors.may_answer_elsewhere(error):
                break
        assert failure is not None
        raise failure

    def _call_member(
        self,
        member: int,
        select: Callable[[Connection], Call],
        request: Any,
        timeout: float,
    ) -> Any:
        connection = self._connections[member]
        metadata = self.cluster.metadata(connection)
        try:
            with self._elections.watching(connection):
                reply = select(connection)(request, timeout=timeout, metadata=metadata)
            self.cluster.note_term(reply)
            return reply
        except grpc.RpcError as error:
            if not self.cluster.server.user or not errors.is_stale_token(error):
                raise
            self.cluster.drop_token()
        metadata = self.cluster.metadata(connection)
        return select(connection)(request, timeout=timeout, metadata=metadata)

    def _closed_error(self) -> StoreUnavailable:
        # gRPC raises it when the channel was closed a moment ago.
        return StoreUnavailable(
            "the etcd store is closed"
            if self._closed
            else f"etcd at {self.cluster.server} has another leader now; try again"
        )
