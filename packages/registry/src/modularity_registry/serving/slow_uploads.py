"""The bodies being read, and an end to those that do not arrive.

Granian has no time limit for a body: the thread that reads one sits in
``wsgi.input.read`` for as long as the caller likes. This watch ends such a read by
closing the reading side of the caller's connection, which it has to find first:
`sockets.connections` lists them, and what a late upload looks like tells it apart.
"""

import logging
import threading
import time
from dataclasses import dataclass

from modularity_registry.errors import RegistryError
from modularity_registry.serving import sockets
from modularity_registry.serving.sockets import Connection

_log = logging.getLogger(__name__)

_TICK = 0.25
# How far the kernel's clock for a connection (4 ms steps) may be off from ours.
_SLACK = 0.05
_PATIENCE = 0.25
# Bodies that are ended together, and the time until the next: the threads of hundreds
# would all wake up at once, and calls would have to queue among them.
_AT_ONCE = 8
_BREATH = 0.03


class TooManyUploads(RegistryError):
    """So many bodies are being read that another one must wait its turn elsewhere."""

    code = "too_many_uploads"


@dataclass(slots=True)
class Upload:
    """One body being read. ``started`` is in seconds of `time.monotonic`."""

    peer: str
    started: float
    interim_reply: bool
    cut: bool = False
    # Bytes received by each connection of this peer at the first look.
    first_look: dict[int, int] | None = None


class UploadWatch:
    """Bounds how long a body may take and how many are read at once.

    ``port`` is the server's own, ``seconds`` the time that a whole body may take,
    ``most`` how many may be under way; three quarters of them for any one address.
    Nothing runs before `start`.
    """

    def __init__(self, port: int, seconds: float, most: int) -> None:
        self._port = port
        self._seconds = seconds
        self._most = most
        self._share = most - most // 4
        self._uploads: dict[int, Upload] = {}
        self._cut: set[tuple[str, int]] = set()

    @property
    def seconds(self) -> float:
        """The time that a whole body may take."""
        return self._seconds

    def start(self) -> None:
        """Begin to watch, in a thread that lives as long as the process."""
        threading.Thread(target=self._run, name="upload-watch", daemon=True).start()

    def begin(self, peer: str, interim_reply: bool = False) -> Upload:
        """Watch what is read from ``peer`` until `end`; raise `TooManyUploads`.

        ``interim_reply`` says that the caller waits for "100 Continue". Once the time
        is up, ``cut`` is true and the reads end early.
        """
        # A dict's own operations are atomic: no lock on the way of every body.
        if len(self._uploads) >= self._most or self._has_its_share(peer):
            raise TooManyUploads("too many bodies are being received; try again")
        upload = Upload(peer, time.monotonic(), interim_reply)
        self._uploads[id(upload)] = upload
        return upload

    def _has_its_share(self, peer: str) -> bool:
        # Without it, one caller with slow bodies would keep out everybody else's.
        if len(self._uploads) < self._share:
            return False
        # list() of a dict's values holds the interpreter lock all the way through.
        peers = [each.peer for each in list(self._uploads.values())]
        return peers.count(peer) >= self._share

    def end(self, upload: Upload) -> None:
        """Stop watching ``upload``."""
        del self._uploads[id(upload)]

    def severed(self, peer: str) -> bool:
        """Tell whether the connection of a body that ended was cut short.

        A chunked body that was cut short ends for its reader like a whole one. But its
        connection is still there, ended by the caller, for as long as it is not
        answered; that of a whole body is not. Others that ended just now soon go away,
        so a true takes `_PATIENCE`; where many end it can be wrong, a false is not.
        """
        suspects = self._ended(peer)
        deadline = time.monotonic() + _PATIENCE
        pause = threading.Event()
        while suspects and time.monotonic() < deadline:
            pause.wait(_PATIENCE / 10)
            suspects &= self._ended(peer)
        return bool(suspects)

    def _ended(self, peer: str) -> set[tuple[int, int]]:
        return {
            (connection.fd, connection.received)
            for connection in sockets.connections(self._port)
            if connection.ended
            and (not connection.peer or connection.peer == peer)
            and connection.last_sent <= connection.last_received + _SLACK
        }

    def _run(self) -> None:
        pause = threading.Event()
        delay = _TICK
        while not pause.wait(delay):
            delay = _TICK
            try:
                if self._look(time.monotonic()):
                    delay = _BREATH
            except Exception:
                _log.exception("looking after slow uploads failed; trying again")

    def _look(self, now: float) -> bool:
        """End bodies whose time is up; say whether there may be more of them."""
        # list() of a dict's values holds the interpreter lock all the way through.
        slow = [each for each in list(self._uploads.values()) if self._due(each, now)]
        if not slow:
            return False
        present = sockets.connections(self._port)
        self._cut &= {connection.address for connection in present}
        # One look for all of a peer's bodies: hundreds may be slow among thousands of
        # connections, and a look for each would hold up every call.
        looks: dict[str, dict[int, int]] = {}
        for upload in slow:
            if upload.first_look is None:
                if upload.peer not in looks:
                    looks[upload.peer] = _received(present, upload.peer)
                upload.first_look = looks[upload.peer]
        ended = 0
        for upload in slow:
            if now - upload.started >= self._seconds and ended < _AT_ONCE:
                unanswered = [each for each in present if _unanswered(each, upload)]
                ended += self._end(upload, unanswered)
        return ended == _AT_ONCE

    def _due(self, upload: Upload, now: float) -> bool:
        age = now - upload.started
        return age >= self._seconds or (age >= _TICK and upload.first_look is None)

    def _end(self, upload: Upload, unanswered: list[Connection]) -> bool:
        # One a tick: should it be another request of the same caller that began at the
        # same moment, the next tick takes the next one, until this upload is over.
        open_ones = [each for each in unanswered if each.address not in self._cut]
        if not open_ones or id(upload) not in self._uploads:
            return False
        upload.cut = True
        guilty = min(open_ones, key=lambda each: _likeness(each, upload))
        self._cut.add(guilty.address)
        sockets.stop_reading(guilty)
        return True


def _received(present: list[Connection], peer: str) -> dict[int, int]:
    return {each.peer_port: each.received for each in present if each.peer == peer}


def _unanswered(connection: Connection, upload: Upload) -> bool:
    if connection.peer != upload.peer:
        return False
    return upload.interim_reply or connection.last_sent <= upload.started + _SLACK


def _likeness(connection: Connection, upload: Upload) -> tuple[bool, float]:
    """Rank ``connection``: smaller is more likely the one that ``upload`` waits for.

    Bytes that keep coming before any answer are an upload's; a connection that fell
    silent just when the reading began is the next best guess.
    """
    before = (upload.first_look or {}).get(connection.peer_port)
    grown = before is not None and connection.received > before
    return not grown, abs(connection.last_received - upload.started)
