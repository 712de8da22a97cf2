"""What is written to the audit, and what happens when it can't be.

The registry goes on without: a full disk must not keep services from registering. It
is told at once in the log and by ``/health``, and what was lost is counted and said in
the file itself as soon as that can be written again.
"""

import json
import logging
import threading
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from modularity_registry import config
from modularity_registry.audit import lines
from modularity_registry.audit.refusal_quota import LeftOut, Refusals
from modularity_registry.audit.rotating_file import PATIENCE, AuditFile
from modularity_registry.catalog.entry import Entry
from modularity_registry.clock import Clock, SystemClock, rfc3339
from modularity_registry.config import Settings
from modularity_registry.model.rights import Claim, Token
from modularity_registry.model.service import Service
from modularity_registry.telemetry import logs

log = logging.getLogger(__name__)

PERIOD = 5.0
"""Seconds between two looks at what is left to be said."""

LONGEST_TEXT = 512
"""Characters of what a caller sent that are kept of a refused call."""

MEGABYTE = 1_000_000


class Audit:
    """Writes one line for each act. For any thread; what it was done for is in `logs`.

    ``lines`` were written, ``lost`` could not be.
    """

    def __init__(self, file: AuditFile | None, clock: Clock, replica: str) -> None:
        """Return one that writes to ``file``, or says nothing if that is None."""
        self._file = file
        self._clock = clock
        self._replica = replica
        self._lock = threading.Lock()
        self._refusals = Refusals(clock)
        self._missing = 0
        self._since: datetime | None = None
        self._fault: str | None = None
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self.lines = 0
        self.lost = 0

    @classmethod
    def at(cls, settings: Settings, clock: Clock, replica: str) -> "Audit":
        """Return one that writes to the file that the settings name, if they do."""
        if settings.audit_file == config.OFF:
            return cls(None, clock, replica)
        most = settings.audit_megabytes * MEGABYTE
        file = AuditFile(Path(settings.audit_file), most, settings.audit_files)
        return cls(file, clock, replica)

    @property
    def fault(self) -> str | None:
        """Why the audit is not complete, or its file too large; None when all is well.

        It is well again once the file says what was lost.
        """
        if self._file is None or self._fault is not None:
            return self._fault
        stuck = self._file.stuck
        return f"a full audit file can't be put aside: {stuck}" if stuck else None

    def start(self, **facts: Any) -> None:
        """Say that the registry starts, with these ``facts``; then look after it all.

        In the process that serves: it starts a thread.
        """
        if self._file is None:
            return
        self.write("registry.started", **facts)
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Say what is left to be said, and that the registry stops. Idempotent."""
        if self._file is None or self._thread is None:
            return
        self._over.set()
        self._thread.join()
        self._thread = None
        self.look(at_once=True)
        self.write("registry.stopped")
        if self._missing:
            log.error("%d lines of the audit are lost for good", self._missing)
        self._file.close()

    def write(self, event: str, **fields: Any) -> None:
        """Write one line; who asked for it is the request that this thread is at.

        Fields that are None are left out, but for ``who``.
        """
        if self._file is not None:
            self._put(self._line(event, fields))

    def written(
        self, old: Entry | None, new: Service, revision: int, claim: Claim | None
    ) -> None:
        """Write that ``new`` was stored over ``old``, on behalf of ``claim``."""
        if self._file is None:
            return
        act = lines.of_write(old.service if old else None, new)
        if act is not None:
            self._act(act, new.registration.id, revision, claim)

    def removed(self, old: Entry, revision: int, claim: Claim | None) -> None:
        """Write that ``old`` is no more: with its lease if there is no ``claim``."""
        if self._file is not None:
            act = lines.of_removal(old.service, expired=claim is None)
            self._act(act, old.id, revision, claim)

    def token(self, event: str, token: Token) -> None:
        """Write what was done to a token; never its text or the hash of that."""
        if self._file is not None:
            self.write(event, **lines.of_token(token))

    def refused(self, status: int, code: str, call: str, reason: str) -> None:
        """Write that a ``call`` (method and path) was refused, if there is room.

        Of one client `OF_ONE_CLIENT` of a minute are written; the rest are counted.
        """
        if self._file is None:
            return
        request = logs.current_request.get()
        with self._lock:
            left_out = self._refusals.turn()
            who, where = (request.caller, request.peer) if request else (None, "")
            shown = self._refusals.take(who, where)
        self._sum_up(left_out)
        if shown:
            self.write(
                "access.refused",
                status=status,
                code=code,
                call=_short(call),
                reason=_short(reason),
            )

    def look(self, at_once: bool = False) -> None:
        """Write what was left out and what was lost, where that is due and possible."""
        with self._lock:
            left_out = self._refusals.turn(at_once)
            missing = self._missing
        self._sum_up(left_out)
        if missing:
            self._put(b"")

    def _act(
        self, act: lines.Act, service_id: str, revision: int, claim: Claim | None
    ) -> None:
        event, fields = act
        fields = {"service_id": service_id, "revision": revision, **fields}
        self._put(self._line(event, fields, claim))

    def _sum_up(self, left_out: LeftOut | None) -> None:
        if left_out is not None:
            fields = {
                "since": rfc3339(left_out.since),
                "count": left_out.count,
                "clients": left_out.clients,
            }
            self._put(self._line("access.left_out", fields, asked=False))

    def _line(
        self,
        event: str,
        fields: dict[str, Any],
        claim: Claim | None = None,
        asked: bool = True,
    ) -> bytes:
        # Of fixed width in front, so that a reader finds a time without reading JSON.
        line: dict[str, Any] = {
            "timestamp": rfc3339(self._clock.now()),
            "event": event,
        }
        line |= lines.of_request(logs.current_request.get() if asked else None, claim)
        line |= {name: each for name, each in fields.items() if each is not None}
        line["replica"] = self._replica
        return _encoded(line)

    def _put(self, line: bytes) -> None:
        """Write a line after what is to be said of those that were lost."""
        assert self._file is not None
        reason: str | None = None
        with self._lock:
            before = self._missing
            gap = self._gap() if before else b""
            try:
                self._file.append(gap + line, 0.0 if before else PATIENCE)
            except OSError as error:
                reason = error.strerror or str(error)
                self._miss(bool(line), reason)
            else:
                self.lines += bool(gap) + bool(line)
                self._missing, self._fault, self._since = 0, None, None
        # Once each, and under no lock: stderr may be slow.
        if reason is not None and not before:
            log.error("the audit can't be written, and calls go on: %s", reason)
        elif reason is None and before:
            log.warning("the audit is written again; %d lines are lost", before)

    def _miss(self, is_line: bool, reason: str) -> None:
        if self._since is None:
            self._since = self._clock.now()
        self._missing += is_line
        self.lost += is_line
        self._fault = f"the audit can't be written: {reason}"

    def _gap(self) -> bytes:
        assert self._since is not None
        fields = {
            "count": self._missing,
            "since": rfc3339(self._since),
            "reason": self._fault,
        }
        return self._line("audit.lost", fields, asked=False)

    def _run(self) -> None:
        while not self._over.wait(PERIOD):
            self.look()


def _encoded(line: dict[str, Any]) -> bytes:
    """Return a line of JSON in ASCII: nothing in it ends a line or moves a cursor."""
    try:
        encoded = _encode(line)
    except UnicodeEncodeError:  # half a character, as JSON allows it
        encoded = b"\x7f"
    if not encoded.isascii() or b"\x7f" in encoded:
        text = json.dumps(line, separators=(",", ":"))
        encoded = text.replace("\x7f", "\\u007f").encode()
    return encoded + b"\n"


_encode = msgspec.json.Encoder().encode


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}..."


OFF: Final = Audit(None, SystemClock(), "")
"""The audit of a registry that has none."""
