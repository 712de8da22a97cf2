"""Clients that use registries at random while something is broken.

The seed decides what they do; the times, and so the order, are the machine's.
"""

import random
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType

from support.faults.client import Client, Replica, StreamReader
from support.faults.history import History, Outcome
from support.registry import eventually

SERVICES = 10
CLIENTS = 6
READERS = 2
PAUSE = 0.01
"""Seconds between two calls of a client: a fault is to be met, not the load."""

Turn = Callable[[Client, random.Random], Outcome]
"""One call of a client, or two; the outcome says whether to go on at once."""


class Load:
    """Clients of all replicas, and one stream, from `__enter__` to `finish`."""

    def __init__(
        self,
        replicas: Sequence[Replica],
        seed: int,
        clients: int = CLIENTS,
        readers: int = READERS,
        services: int = SERVICES,
        new_ids: bool = False,
        pause: float = PAUSE,
    ) -> None:
        """Of the clients, ``readers`` only read: no write of theirs holds them up.

        With ``new_ids`` each service is registered once, and never changed.
        """
        self.history = History()
        self.service_ids = [f"service-{number}" for number in range(services)]
        self.replicas = list(replicas)
        self._pause = pause
        self._ending = threading.Event()
        self._stream = StreamReader("stream", self.replicas, self.history)
        self._random = random.Random(seed)
        writer = self._register_new if new_ids else self._anything
        turns = [writer] * (clients - readers) + [self._read] * readers
        self._threads = [
            threading.Thread(
                target=self._run,
                args=(
                    turn,
                    Client(f"c{number}", self._replica(number), self.history),
                    random.Random(self._random.random()),
                ),
                daemon=True,
            )
            for number, turn in enumerate(turns)
        ]

    def _replica(self, number: int) -> Replica:
        return self.replicas[number % len(self.replicas)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        self._stream.close()

    def stop(self) -> None:
        """End all clients, and wait for their last calls. The stream goes on."""
        if not self._ending.is_set():
            self.history.stopped = time.monotonic()
            self._ending.set()
        for thread in self._threads:
            thread.join()

    @property
    def acknowledged(self) -> int:
        """How many writes were acknowledged until now."""
        # A copy: other threads add to it.
        asked = list(self.history.asked)
        return sum(each.is_write and each.outcome is Outcome.OK for each in asked)

    def wait_for_writes(self, count: int = 20, seconds: float = 60.0) -> None:
        """Return when so many more writes are acknowledged."""
        enough = self.acknowledged + count
        eventually(lambda: self.acknowledged >= enough, seconds)

    def break_stream(self) -> None:
        """Cut the stream's connection; it resumes."""
        self._stream.break_off()

    def finish(
        self, others: Sequence[Replica] = (), seconds: float = 60.0
    ) -> "History":
        """Stop, read everything once more, and return the history.

        It is read of each replica, and of ``others``, such as a registry that was
        started afterwards over the same store, as soon as each has seen the last write.
        The store must be back.
        """
        self.stop()
        marker = Client("last", self.replicas[0], self.history)
        for service_id in ("last-1", "last-2"):
            self._settle(marker, service_id, seconds)
        marker.close()
        last = max(write.revision or 0 for write in self.history.writes)
        eventually(lambda: self._stream.revision >= last, seconds)
        ids = sorted({write.service_id for write in self.history.writes})
        for replica in (*self.replicas, *others):
            self._read_finally(replica, ids, last, seconds)
        self._stream.close()
        return self.history

    def _settle(self, client: Client, service_id: str, seconds: float) -> None:
        """Register a service; the first try may meet what is still broken."""
        eventually(lambda: client.register(service_id) is Outcome.OK, seconds)

    def _read_finally(
        self, replica: Replica, ids: list[str], revision: int, seconds: float
    ) -> None:
        client = Client("last", replica, self.history)
        eventually(lambda: (client.read_all([]) or 0) >= revision, seconds)
        client.read_all(ids, final=True)
        client.close()

    def _run(self, turn: Turn, client: Client, chance: random.Random) -> None:
        while not self._ending.wait(self._pause):
            if turn(client, chance) is not Outcome.OK:
                self._ending.wait(0.05)
        client.close()

    def _register_new(self, client: Client, chance: random.Random) -> Outcome:
        return client.register(f"{client.name}-{chance.randrange(2**48):x}", 0)

    def _anything(self, client: Client, chance: random.Random) -> Outcome:
        service_id = chance.choice(self.service_ids)
        turn = chance.random()
        if turn < 0.35:
            return client.register(service_id)
        if turn < 0.45:
            revision = client.read(service_id)
            return client.register(service_id, revision or 0)
        if turn < 0.55:
            return client.unregister(service_id)
        if turn < 0.6:
            return client.heartbeat(service_id)
        return self._read(client, chance)

    def _read(self, client: Client, chance: random.Random) -> Outcome:
        turn = chance.random()
        if turn < 0.7:
            client.read(chance.choice(self.service_ids))
        elif turn < 0.8:
            client.read_all(self.service_ids)
        else:
            client.look_up()
        return Outcome.OK
