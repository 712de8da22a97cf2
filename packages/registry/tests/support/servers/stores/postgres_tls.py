"""TLS in front of a PostgreSQL server: those that come as a package have none."""

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from support.servers.certificates import Authority
from support.serving import HOST

_REQUEST = (8).to_bytes(4, "big") + (80_877_103).to_bytes(4, "big")  # SSLRequest


@contextmanager
def tls_front(
    target: int, authority: Authority, *, certified: bool = False, host: str = HOST
) -> Iterator[int]:
    """Yield a port that speaks TLS only and passes on what it gets to ``target``.

    ``certified``: callers need a certificate by ``authority``. Its own is for
    127.0.0.1, wherever it listens.
    """
    own = authority.sign(f"front-of-{target}")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.ca)
    context.load_cert_chain(own.cert, own.key)
    context.verify_mode = ssl.CERT_REQUIRED if certified else ssl.CERT_NONE
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        ends = [writer]
        try:
            if await reader.readexactly(len(_REQUEST)) != _REQUEST:
                return
            writer.write(b"S")
            await writer.start_tls(context)
            far_reader, far_writer = await asyncio.open_connection(HOST, target)
            ends.append(far_writer)
            async with asyncio.TaskGroup() as group:
                group.create_task(_pump(reader, far_writer))
                group.create_task(_pump(far_reader, writer))
        except (OSError, EOFError, ExceptionGroup, asyncio.CancelledError):
            pass  # either end is gone, or did not like the other
        finally:
            for end in ends:
                end.transport.abort()
            tasks.discard(task)

    async def end(server: asyncio.Server) -> None:
        server.close()
        running = list(tasks)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    starting = asyncio.start_server(serve, host, 0)
    server = asyncio.run_coroutine_threadsafe(starting, loop).result(10)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(end(server), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    raise EOFError("one end closed: so does the other")
