"""Clients of a registry that write all the time, each under ids of its own."""

import http.client
import json
import random
import threading
import time
from http import HTTPStatus

from faults.sqlite.writes import Held, Write
from support.registry import registration
from support.serving import HOST

CLIENTS = 6
IDS = 15
"""Ids of each client."""

_GOOD = {HTTPStatus.OK, HTTPStatus.CREATED}
# A removal of what is not there leaves what a removal leaves.
_GONE = HTTPStatus.NOT_FOUND
_REFUSED = {HTTPStatus.PRECONDITION_FAILED, HTTPStatus.SERVICE_UNAVAILABLE}


class Load:
    """Writes from `start` to `stop`; ``writes`` has all, ``revision`` the highest."""

    def __init__(self, port: int, seed: int) -> None:
        self.writes: list[Write] = []
        self.revision = 0
        self._port = port
        self._seed = seed
        self._ending = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self, round_: int) -> None:
        """Begin a round, whose number is a part of each value."""
        self._ending.clear()
        self._threads = [
            threading.Thread(target=self._write, args=(client, round_))
            for client in range(CLIENTS)
        ]
        for thread in self._threads:
            thread.start()

    def settle(self, held: Held, at: int) -> None:
        """Forget all writes but for what they left: ``held``, surely from ``at`` on."""
        keys = {write.key for write in self.writes}
        self.writes = [Write(key, held.get(key), at, at) for key in sorted(keys)]

    def stop(self) -> None:
        """Return when the last call has its reply or has none."""
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def _write(self, client: int, round_: int) -> None:
        rng = random.Random(f"{self._seed} {client} {round_}")
        connection = http.client.HTTPConnection(HOST, self._port, timeout=20)
        number = 0
        while not self._ending.is_set():
            number += 1
            key = f"client-{client}-{rng.randrange(IDS)}"
            value = f"{round_}.{number}"
            if not self._write_one(connection, key, value, rng.random()):
                break
        connection.close()

    def _write_one(
        self,
        connection: http.client.HTTPConnection,
        key: str,
        value: str,
        chance: float,
    ) -> bool:
        removes = chance < 0.2
        # One that no service can have: what such a call sends must never be seen.
        headers = {"If-Match": '"999999999"'} if chance > 0.95 else {}
        body = registration(key, mode="standalone", version=value)
        sent = time.monotonic_ns()
        try:
            connection.request(
                "DELETE" if removes else "PUT",
                f"/api/services/{key}",
                None if removes else json.dumps(body),
                {"Content-Type": "application/json", **headers},
            )
            reply = connection.getresponse()
            answer = json.loads(reply.read())
        except (OSError, http.client.HTTPException):
            self.writes.append(Write(key, None if removes else value, sent, None))
            return False
        status = HTTPStatus(reply.status)
        refused = status in _REFUSED
        unknown = status is HTTPStatus.GATEWAY_TIMEOUT
        assert refused or unknown or status in {*_GOOD, _GONE}, answer
        self.revision = max(self.revision, answer.get("revision") or 0)
        self.writes.append(
            Write(
                key,
                None if removes else value,
                sent,
                None if unknown else time.monotonic_ns(),
                refused,
            )
        )
        return True
