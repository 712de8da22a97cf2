"""One connection to one member of an etcd cluster."""

import re
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import grpc
from pyetcd import etcdrpc as rpc  # type: ignore[import-untyped]  # has no stubs

from modularity_registry.errors import StoreUnavailable
from modularity_registry.stores.server_url import Host, Tls

# etcd drops a client that pings more often than every 5 s.
KEEPALIVE_SECONDS: Final = 10


class Connection:
    """The calls that the store makes; the first one connects."""

    def __init__(
        self, host: Host, credentials: grpc.ChannelCredentials | None, timeout: float
    ) -> None:
        self._host = host
        self._credentials = credentials
        self._options = _options(timeout)
        self._open()

    def _open(self) -> None:
        name, options = str(self._host), self._options
        self._channel = (
            grpc.insecure_channel(name, options)
            if self._credentials is None
            else grpc.secure_channel(name, self._credentials, options)
        )
        kv = rpc.KVStub(self._channel)
        self.range: Any = kv.Range
        self.txn: Any = kv.Txn
        self.watch: Any = rpc.WatchStub(self._channel).Watch
        self.status: Any = rpc.MaintenanceStub(self._channel).Status
        self.authenticate: Any = rpc.AuthStub(self._channel).Authenticate

    def reset(self) -> None:
        """Make the running calls fail, and use another channel for the next."""
        old = self._channel
        self._open()
        old.close()

    def close(self) -> None:
        """Close it; its running calls fail."""
        self._channel.close()


def _options(timeout: float) -> tuple[tuple[str, int], ...]:
    return (
        ("grpc.enable_http_proxy", 0),
        ("grpc.service_config_disable_resolution", 1),
        # In the shared pool a new channel would get a dead connection.
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.max_receive_message_length", -1),
        ("grpc.max_send_message_length", -1),
        ("grpc.keepalive_time_ms", KEEPALIVE_SECONDS * 1_000),
        ("grpc.keepalive_timeout_ms", int(timeout * 1_000)),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.initial_reconnect_backoff_ms", 100),
        # This is also the timeout to connect.
        ("grpc.min_reconnect_backoff_ms", int(timeout * 1_000)),
        ("grpc.max_reconnect_backoff_ms", 1_000),
    )


def read_credentials(tls: Tls | None) -> grpc.ChannelCredentials | None:
    """Return the TLS credentials, None without TLS.

    Raises `StoreUnavailable` when a file can't be read.
    """
    if tls is None:
        return None
    try:
        roots = Path(tls.ca).read_bytes() if tls.ca else _system_authorities()
        key = Path(tls.key).read_bytes() if tls.key else None
        chain = Path(tls.cert).read_bytes() if tls.cert else None
    except OSError as error:
        raise StoreUnavailable(
            f"the TLS file {error.filename} can't be read: {error.strerror}"
        ) from error
    return grpc.ssl_channel_credentials(roots, key, chain)


def _system_authorities() -> bytes | None:
    """Return the system's CAs; gRPC by itself uses a list of its own."""
    paths = ssl.get_default_verify_paths()
    certificates = b"\n".join(path.read_bytes() for path in _authority_files(paths))
    return certificates or None


def _authority_files(paths: ssl.DefaultVerifyPaths) -> Iterator[Path]:
    if paths.cafile is not None:
        yield Path(paths.cafile)
    elif paths.capath is not None:
        for path in sorted(Path(paths.capath).iterdir()):
            # OpenSSL reads only names of this form in such a folder.
            if re.fullmatch(r"[0-9a-f]{8}\.\d+", path.name):
                yield path
