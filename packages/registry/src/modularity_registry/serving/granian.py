"""Granian around the app, once: with TLS, a renewed certificate begins another one.

Granian reads certificates when it starts. So that no connection is cut for a new one,
the generation before stops accepting, answers what its connections still ask and has
each of them closed by its reply, and ends when nobody can be about to ask any more.
"""

import asyncio
import logging
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

from granian._futures import _new_cbscheduler
from granian._granian import SocketHolder, WorkerSignal, WSGIWorker
from granian.http import HTTP1Settings

from modularity_registry.serving import sockets
from modularity_registry.serving.certificates import Material

# Descriptors that are no connections: stores, probes, logs.
_OTHER_FILES = 1024
# What a connection may buffer, and with that the longest head of a request. Granian's
# own 408 KiB would let 8,192 connections take 3 GiB.
_BUFFER = 65_536
# Granian's own limit for a handshake.
_HANDSHAKE_SECONDS = 10.0
# Connections that have not got through it count among no others: Granian accepts all.
_HANDSHAKES = 16_384


class GranianInstance:
    """Answers what comes to a listener, from its making until its end."""

    def __init__(
        self,
        listener: socket.socket,
        call: Callable[..., None],
        closing: threading.Event,
        backlog: int,
        threads: int,
        connections: int,
        header_seconds: float,
        material: Material | None,
    ) -> None:
        """Begin to answer by ``call``; ``listener`` stays the caller's own.

        Once ``closing`` is set, ``call`` is to close each connection by its reply.
        """
        logging.getLogger("_granian").setLevel(logging.WARNING)
        self._header_seconds = header_seconds
        self._closing = closing
        self._due: float | None = None
        self._idle = threading.Event()
        self._end = WorkerSignal()
        self._end.add_cb(self._idle.set)
        handshakes = 0 if material is None else _HANDSHAKES
        descriptors = sockets.raise_descriptor_limit(
            connections + _OTHER_FILES + handshakes
        )
        # Granian's stubs lack arguments or types of all three.
        holder: Any = SocketHolder
        worker: Any = WSGIWorker
        scheduler: Any = _new_cbscheduler
        loop = asyncio.new_event_loop()
        # Granian owns this one, and closes it when told to end. Not `socket.dup`: that
        # would have the listener block for a moment, and the generation before, which
        # shares it, with it: for good.
        self._fd = os.dup(listener.fileno())
        worker(
            worker_id=1,
            sock=(None, holder(self._fd, False, backlog)),
            ipc=None,
            threads=1,
            py_threads=threads,
            # Out of descriptors, Granian's accept loop would spin.
            backpressure=max(1, min(connections, descriptors - _OTHER_FILES)),
            http_mode="1",
            http1_opts=HTTP1Settings(
                header_read_timeout=int(header_seconds * 1000),
                max_buffer_size=_BUFFER,
            ),
            **_tls(material),
        ).serve_mtr(scheduler(loop, call, impl_asyncio=True), loop, self._end)

    def retire(self) -> None:
        """Accept no more; once it is `due`, nobody will notice its end. Idempotent."""
        if self._due is not None:
            return
        # In the listener's place, one that nobody can connect to: callers who wait in
        # the listener's queue are the next instance's.
        with socket.socket(socket.AF_UNIX) as deaf:
            _bind_anywhere(deaf)
            deaf.listen(1)
            deaf.setblocking(False)
            os.dup2(deaf.fileno(), self._fd, inheritable=False)
        self._closing.set()
        # The last handshake, then the last head of a request.
        self._due = time.monotonic() + _HANDSHAKE_SECONDS + self._header_seconds + 1

    def due(self, now: float) -> bool:
        """Say whether it is time to end it (``now`` monotonic)."""
        return self._due is not None and self._due <= now

    def end(self) -> None:
        """End it in order: calls and streams go on to their ends. Idempotent."""
        self._end.set()

    @property
    def over(self) -> bool:
        """Whether it has ended, and nothing is being answered any more."""
        return self._idle.is_set()

    def wait(self, deadline: float) -> bool:
        """Wait until it is over, at most until ``deadline`` (monotonic); say if so."""
        return self._idle.wait(max(0.0, deadline - time.monotonic()))


def _bind_anywhere(sock: socket.socket) -> None:
    if sys.platform == "linux":
        sock.bind("")  # a name that the kernel makes up, in no folder
    else:
        with tempfile.TemporaryDirectory() as folder:
            sock.bind(f"{folder}/s")


def _tls(material: Material | None) -> dict[str, Any]:
    if material is None:
        return {}
    return {
        "ssl_enabled": True,
        "ssl_cert": material.cert,
        "ssl_key": material.key,
        "ssl_protocol_min": f"tls{material.min_version}",
        "ssl_ca": material.ca,
        # Without a CA it would only warn, and take everybody.
        "ssl_client_verify": material.ca is not None,
    }
