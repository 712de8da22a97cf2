"""Tries whether Granian can serve a certificate: ends with 0, or not at all well.

Started as a module, with ``1.2 cert.pem key.pem [ca.pem]``. A pair that Granian does
not like ends its whole process, so this is one that nobody misses.
"""

import asyncio
import os
import socket
import sys
from typing import Any

from granian._futures import _new_cbscheduler
from granian._granian import SocketHolder, WorkerSignal, WSGIWorker


def main(min_version: str, cert: str, key: str, ca: str | None = None) -> None:
    """Serve it on a port that nobody knows, for no time at all."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1)
    holder: Any = SocketHolder
    worker: Any = WSGIWorker
    scheduler: Any = _new_cbscheduler
    end = WorkerSignal()
    end.add_cb(lambda: None)
    loop = asyncio.new_event_loop()
    worker(
        worker_id=1,
        sock=(None, holder(listener.detach(), False, 1)),
        ipc=None,
        ssl_enabled=True,
        ssl_cert=cert,
        ssl_key=key,
        ssl_protocol_min=f"tls{min_version}",
        ssl_ca=ca,
        ssl_client_verify=ca is not None,
    ).serve_mtr(scheduler(loop, lambda *_: None, impl_asyncio=True), loop, end)
    # Nothing is under way: no need to wait for its threads.
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
