"""The connection to ZooKeeper, and the timeouts of its calls."""

import logging
import ssl
import threading
from collections.abc import Callable
from typing import Any, Final

from kazoo.client import (  # type: ignore[import-untyped]  # has no types
    KazooClient,
    KazooState,
)
from kazoo.handlers.threading import (  # type: ignore[import-untyped]  # has no types
    KazooTimeoutError,
)
from kazoo.retry import KazooRetry  # type: ignore[import-untyped]  # has no types
from kazoo.security import (  # type: ignore[import-untyped]  # has no types
    CREATOR_ALL_ACL,
    OPEN_ACL_UNSAFE,
)

from modularity_registry.errors import OutcomeUnknown, StoreUnavailable
from modularity_registry.stores.server_url import Server
from modularity_registry.stores.zookeeper.errors import failure
from modularity_registry.stores.zookeeper.sockets import Handler

SESSION_SECONDS: Final = 8.0
"""Kazoo pings a quiet server after a third of it and gives up after two thirds."""

LONGEST_PAUSE: Final = 1.0
"""Seconds between two attempts to connect; kazoo's default is up to an hour."""

GRACE_SECONDS: Final = 0.5
STOP_SECONDS: Final = 2.0
"""For the server to close the session, and then for kazoo to end its threads."""

log = logging.getLogger(__name__)

# At DEBUG kazoo logs what it sends, including the password.
_driver = logging.getLogger(f"{__name__}.kazoo")
_driver.setLevel(logging.WARNING)


class Connection:
    """One client; it reconnects by itself as long as its session lives."""

    def __init__(
        self,
        server: Server,
        timeout: float,
        context: ssl.SSLContext | None,
        changed: threading.Condition,
    ) -> None:
        self.up = False
        self.breaks = 0
        """How often it was lost; each time all watches at the server are gone."""
        self.server = server
        self.timeout = timeout
        self._changed = changed
        self._handler = Handler(context, timeout)
        has_login = bool(server.user or server.password)
        login = ("digest", f"{server.user}:{server.password}")
        self.client: Any = KazooClient(
            hosts=str(server),
            timeout=SESSION_SECONDS,
            handler=self._handler,
            default_acl=CREATOR_ALL_ACL if has_login else OPEN_ACL_UNSAFE,
            auth_data=[login] if has_login else [],
            connection_retry=KazooRetry(
                max_tries=-1, delay=0.05, max_delay=LONGEST_PAUSE
            ),
            logger=_driver,
        )
        self.client.add_listener(self._note_state)
        self.client.start_async()

    def finish(
        self, result: Any, *answers: type[Exception], writing: bool = False
    ) -> Any:
        """Return the result of an asynchronous call.

        Raises `StoreUnavailable`, or `OutcomeUnknown` when it was ``writing``, but the
        driver's errors among ``answers`` as they are.
        """
        try:
            return result.get(timeout=self.timeout)
        except answers:
            raise
        except KazooTimeoutError as error:
            # Kazoo's own timeout does not run while it has something to send.
            self._handler.drop()
            reason = (
                f"ZooKeeper at {self.server} has not answered for {self.timeout:g} s"
            )
            raise (
                OutcomeUnknown.because(reason) if writing else StoreUnavailable(reason)
            ) from error
        except Exception as error:
            raise failure(error, self.server, writing) from error

    def reason(self) -> str:
        """Return why it is not connected."""
        error = self._handler.failure
        if error is None:
            return "it accepts connections, but no sessions"
        return error.strerror or str(error)

    def close(self) -> None:
        """Close it; waiting calls fail."""
        ending = threading.Thread(target=self._end, name="zookeeper end", daemon=True)
        ending.start()
        ending.join(GRACE_SECONDS)
        self._handler.refuse()
        ending.join(STOP_SECONDS)

    def _note_state(self, state: str) -> None:
        with self._changed:
            self.up = state == KazooState.CONNECTED
            self.breaks += not self.up
            self._changed.notify_all()

    def _end(self) -> None:
        try:
            self.client.stop()
            self.client.close()
        except Exception:
            log.debug("closing a connection failed", exc_info=True)


class ConnectionPool:
    """The one connection of a store, replaced when its session can't be restored."""

    def __init__(self, server: Server, timeout: float) -> None:
        """Begin to connect; raises `StoreUnavailable` for bad TLS files."""
        self._server = server
        self._timeout = timeout
        self._context = _context(server)
        self._changed = threading.Condition()
        self._closed = False
        self._connection = self._connect()

    def get(self, stopped: Callable[[], bool] = lambda: False) -> Connection:
        """Return the connection once it is up.

        Raises `StoreUnavailable` after the timeout, or once ``stopped()``.
        """
        with self._changed:
            connection = self._connection
            self._changed.wait_for(
                lambda: self._closed or stopped() or self._connection.up, self._timeout
            )
            self._require_open()
            if stopped():
                raise StoreUnavailable("the watch was closed")
            if self._connection.up:
                return self._connection
            reason = connection.reason()
        self._replace(connection)
        raise StoreUnavailable(
            f"ZooKeeper at {self._server} can't be reached: {reason}"
        )

    def wake(self) -> None:
        """Make those who wait in `get` check whether they are stopped."""
        with self._changed:
            self._changed.notify_all()

    def pause(self, seconds: float) -> None:
        """Wait for ``seconds``; raises `StoreUnavailable` once it is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed, seconds)
            self._require_open()

    def close(self) -> None:
        """End the connection; idempotent."""
        with self._changed:
            was_open, self._closed = not self._closed, True
            self._changed.notify_all()
        if was_open:
            self._connection.close()

    def _connect(self) -> Connection:
        return Connection(self._server, self._timeout, self._context, self._changed)

    def _replace(self, stale: Connection) -> None:
        """Begin a new session: a server that lost its data refuses the old one.

        It also helps when kazoo's thread has died.
        """
        with self._changed:
            if self._closed or self._connection is not stale or stale.up:
                return
            self._connection = self._connect()
        threading.Thread(
            target=stale.close, name="zookeeper replaced", daemon=True
        ).start()

    def _require_open(self) -> None:
        if self._closed:
            raise StoreUnavailable("the ZooKeeper store is closed")


def _context(server: Server) -> ssl.SSLContext | None:
    tls = server.tls
    if tls is None:
        return None
    try:
        context = ssl.create_default_context(cafile=tls.ca)
        if tls.cert is not None:
            context.load_cert_chain(tls.cert, tls.key)
    except OSError as error:
        raise StoreUnavailable(
            f"the TLS files for ZooKeeper at {server} can't be used: {error}"
        ) from error
    return context
