"""A member of its own process; the tests start it, and end it in several ways."""

import asyncio
import logging
import signal
import sys
import threading
from types import FrameType

from modularity_client import AsyncRegistry, Membership, Registry


def join(
    registry: Registry | AsyncRegistry, service_id: str = "member", grace: float = 0.0
) -> Membership:
    return registry.join(
        id=service_id,
        name="A",
        capabilities=["x"],
        location="y",
        mode="ipc",
        ttl=3,
        grace=grace,
    )


def wait_for_ever() -> None:
    print("ready", flush=True)
    while True:
        threading.Event().wait(60)


def hold(url: str) -> None:
    with join(Registry(url)):
        wait_for_ever()


def two(url: str) -> None:
    with join(Registry(url)), join(Registry(url), "second"):
        wait_for_ever()


def unawaited(url: str) -> None:
    """Ends without leaving."""
    assert join(Registry(url)).start().wait(20)


def handled(url: str) -> None:
    """Has a handler of its own, which is the last to be called."""

    def handler(number: int, frame: FrameType | None) -> None:
        there = Registry(url).services()
        print("handled", len(there), flush=True)
        sys.exit(3)

    signal.signal(signal.SIGTERM, handler)
    hold(url)


def wrapped(url: str) -> None:
    """A handler between those of two members: it calls who came before it."""
    with join(Registry(url)):
        before = signal.getsignal(signal.SIGTERM)
        assert callable(before)

        def handler(number: int, frame: FrameType | None) -> None:
            print("handled", flush=True)
            before(number, frame)

        signal.signal(signal.SIGTERM, handler)
        with join(Registry(url), "second"):
            wait_for_ever()


def serving(url: str) -> None:
    """Goes on with its work until everybody has heard the goodbye."""
    asked = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: asked.set())
    membership = join(Registry(url), grace=1.5)
    with membership:
        print("ready", flush=True)
        worked = 0
        while not asked.wait(0.05):
            worked += not membership.registered or _draining(url)
        print("worked on" if worked > 3 else worked, flush=True)


def _draining(url: str) -> bool:
    return any(each.status == "draining" for each in Registry(url).services())


def impatient(url: str) -> None:
    """Wants to take long to leave."""
    with join(Registry(url), grace=300):
        wait_for_ever()


def ignored(url: str) -> None:
    """Ignores SIGTERM, and goes on doing so."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with join(Registry(url)):
        print("ready", flush=True)
        assert sys.stdin.readline() == "go on\n"
        assert len(Registry(url).services()) == 1
    print("left", flush=True)


def elsewhere(url: str) -> None:
    """Joins in a thread, where no signal can be handled."""
    threading.Thread(target=hold, args=(url,), daemon=True).start()
    threading.Event().wait(60)


def own_loop(url: str) -> None:
    """Handles SIGTERM in its event loop, and leaves by its context."""

    async def main() -> None:
        over = asyncio.Event()
        handled = []

        def handler() -> None:
            handled.append(1)
            over.set()

        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, handler)
        async with join(AsyncRegistry(url), grace=0.5):
            print("ready", flush=True)
            await over.wait()
        await asyncio.sleep(0.5)  # for what must not come
        print("handled", len(handled), flush=True)

    asyncio.run(main())


def looped(url: str) -> None:
    async def main() -> None:
        async with join(AsyncRegistry(url)):
            print("ready", flush=True)
            await asyncio.Event().wait()

    asyncio.run(main())


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    globals()[sys.argv[1]](sys.argv[2])
