"""Writes the audit, and counts the lines that are lost while the file can't be written.

A thread of its own writes it: a file that another process keeps locked, or a slow disk,
must not hold up the event loop.

Calls go on meanwhile: a full disk must not keep services from registering. The log and
``/health`` report it at once, and the file says how many lines are missing as soon as
it can be written again.
"""

import json
import logging
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from modularity_registry import config
from modularity_registry.audit import lines
from modularity_registry.audit.line_queue import LineQueue
from modularity_registry.audit.refusal_quota import LeftOut, RefusalQuota
from modularity_registry.audit.rotating_file import PATIENCE, AuditFile
from modularity_registry.catalog.entry import Entry
from modularity_registry.clock import Clock, SystemClock, rfc3339
from modularity_registry.config import Settings
from modularity_registry.model.rights import Claim, Token
from modularity_registry.model.service import Service
from modularity_registry.model.split import Split
from modularity_registry.telemetry import logs

log = logging.getLogger(__name__)

PERIOD = 5.0
"""Seconds between two attempts to write what is pending."""

TOGETHER_SECONDS = 0.01
"""How long a line may wait to be written with others."""

STOP_SECONDS = 5.0
"""How long a stop waits for the lines that are not written yet."""

LONGEST_TEXT = 512
"""Characters that a line keeps of each text of a refused call."""

MEGABYTE = 1_000_000

_FAILED = "the audit can't be written, and calls go on: %s"


class Audit:
    """Writes one line for each event, from any thread; `logs` knows the request.

    Between `start` and `stop`, its own thread does, and nobody else waits for the file.
    ``lines`` counts those that were written, ``lost`` those that were not.
    """

    def __init__(self, file: AuditFile | None, clock: Clock, replica: str) -> None:
        """Return an audit that writes to ``file``, or nowhere if that is None."""
        self._file = file
        self._clock = clock
        self._replica = replica
        self._queue = LineQueue()
        self._lock = threading.Lock()  # never held while the file is written
        self._writing = threading.Lock()
        self._refusals = RefusalQuota(clock)
        self._failed = False
        self._missing = 0
        self._since: datetime | None = None
        self._fault: str | None = None
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self.lines = 0
        self.lost = 0

    @classmethod
    def at(cls, settings: Settings, clock: Clock, replica: str) -> "Audit":
        """Return an audit that writes to the file of the settings, if they name one."""
        if settings.audit_file == config.OFF:
            return cls(None, clock, replica)
        most = settings.audit_megabytes * MEGABYTE
        file = AuditFile(Path(settings.audit_file), most, settings.audit_files)
        return cls(file, clock, replica)

    @property
    def fault(self) -> str | None:
        """Why the audit is incomplete, or its file too large; else None.

        It is None again once the file says how many lines are missing.
        """
        if self._file is None or self._fault is not None:
            return self._fault
        error = self._file.rotation_error
        return f"the full audit file can't be renamed: {error}" if error else None

    def start(self, **facts: Any) -> None:
        """Start the thread, and write `registry.started` with these ``facts``.

        For the process that serves, after all forks.
        """
        if self._file is None:
            return
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()
        self.write("registry.started", **facts)

    def stop(self) -> None:
        """Write what is pending and `registry.stopped`; waits for it. Idempotent."""
        if self._file is None or self._thread is None:
            return
        self._over.set()
        self._queue.close()
        self._thread.join(STOP_SECONDS)
        if self._thread.is_alive():
            log.error("the audit can't be written; the lines that wait are lost")
            return
        self._thread = None
        self.write_pending(at_once=True)
        self.write("registry.stopped")
        if self._missing:
            log.error("%d lines of the audit are lost", self._missing)
        self._file.close()

    def write(self, event: str, **fields: Any) -> None:
        """Write one line, about the request that this thread answers.

        Leaves out fields that are None, except ``who``.
        """
        if self._file is not None:
            self._put(self._line(event, fields))

    def written(
        self,
        old: Entry | None,
        new: Service,
        revision: int,
        claim: Claim | None,
    ) -> None:
        """Write that ``new`` was stored over ``old``, on behalf of ``claim``."""
        if self._file is None:
            return
        event = lines.of_write(old.service if old else None, new)
        if event is not None:
            self._write_event(event, new.registration.id, revision, claim)

    def removed(self, old: Entry, revision: int, claim: Claim | None) -> None:
        """Write that ``old`` was removed: its lease expired if ``claim`` is None."""
        if self._file is not None:
            event = lines.of_removal(old.service, expired=claim is None)
            self._write_event(event, old.id, revision, claim)

    def split(self, old: Split | None, new: Split | None, revision: int) -> None:
        """Write that ``new`` took the place of a split, or that it ended."""
        if self._file is not None:
            event, fields = lines.of_split(old, new)
            self.write(event, **fields, revision=revision)

    def token(self, event: str, token: Token) -> None:
        """Write an event of a token, without its text and the hash of that."""
        if self._file is not None:
            self.write(event, **lines.of_token(token))

    def refused(self, status: int, code: str, call: str, reason: str) -> None:
        """Write that a ``call`` (method and path) was refused, within the quota.

        The refusals beyond it are counted: see `RefusalQuota`.
        """
        if self._file is None:
            return
        request = logs.current_request.get()
        with self._lock:
            left_out = self._refusals.end_window()
            token, address = (request.caller, request.peer) if request else (None, "")
            in_quota = self._refusals.take(token, address)
        self._write_left_out(left_out)
        if in_quota:
            self.write(
                "access.refused",
                status=status,
                code=code,
                call=_short(call),
                reason=_short(reason),
            )

    def write_pending(self, at_once: bool = False) -> None:
        """Write `access.left_out` and `audit.lost` lines that are due."""
        with self._lock:
            left_out = self._refusals.end_window(at_once)
            missing = self._missing
        self._write_left_out(left_out)
        if missing:
            self._append([])

    def _write_event(
        self,
        audit_event: lines.AuditEvent,
        service_id: str,
        revision: int,
        claim: Claim | None,
    ) -> None:
        event, fields = audit_event
        fields = {"service_id": service_id, "revision": revision, **fields}
        self._put(self._line(event, fields, claim))

    def _write_left_out(self, left_out: LeftOut | None) -> None:
        if left_out is not None:
            fields = {
                "since": rfc3339(left_out.since),
                "count": left_out.count,
                "clients": left_out.clients,
            }
            self._put(self._line("access.left_out", fields, by_request=False))

    def _line(
        self,
        event: str,
        fields: dict[str, Any],
        claim: Claim | None = None,
        by_request: bool = True,
    ) -> bytes:
        # First and of fixed width, so that a reader finds it without decoding JSON.
        line: dict[str, Any] = {
            "timestamp": rfc3339(self._clock.now()),
            "event": event,
        }
        line |= lines.of_request(
            logs.current_request.get() if by_request else None, claim
        )
        line |= {name: value for name, value in fields.items() if value is not None}
        line["replica"] = self._replica
        return _encoded(line)

    def _put(self, line: bytes) -> None:
        """Have the thread write a line; without the thread, write it."""
        if self._thread is None:
            self._append([line])
        elif not self._queue.put(line):
            reason = "more lines wait for it than fit in memory"
            with self._lock:
                before = self._missing
                self._miss(1, reason)
            if not before:
                log.error(_FAILED, reason)

    def _append(self, batch: list[bytes]) -> None:
        """Write lines, after one about the missing lines if there are any."""
        assert self._file is not None
        reason: str | None = None
        with self._writing:
            with self._lock:
                before = self._missing
                gap = self._gap() if before else b""
            try:
                # One that has just waited in vain does not wait again.
                patience = 0.0 if self._failed else PATIENCE
                self._file.append(gap + b"".join(batch), patience)
            except OSError as error:
                self._failed = True
                reason = error.strerror or str(error)
                with self._lock:
                    self._miss(len(batch), reason)
            else:
                self._failed = False
                with self._lock:
                    self.lines += bool(gap) + len(batch)
                    self._missing -= before
                    if not self._missing:  # none was lost meanwhile
                        self._fault, self._since = None, None
        # Each once.
        if reason is not None and not before:
            log.error(_FAILED, reason)
        elif before and self._fault is None:
            log.warning("the audit can be written again; %d lines are missing", before)

    def _miss(self, count: int, reason: str) -> None:
        if self._since is None:
            self._since = self._clock.now()
        self._missing += count
        self.lost += count
        self._fault = f"the audit can't be written: {reason}"

    def _gap(self) -> bytes:
        assert self._since is not None
        fields = {
            "count": self._missing,
            "since": rfc3339(self._since),
            "reason": self._fault,
        }
        return self._line("audit.lost", fields, by_request=False)

    def _run(self) -> None:
        due = time.monotonic() + PERIOD
        while (batch := self._queue.take(due - time.monotonic())) is not None:
            if batch:
                self._append(batch)
            if time.monotonic() >= due:
                self.write_pending()
                due = time.monotonic() + PERIOD
            if not self._queue:
                self._over.wait(TOGETHER_SECONDS)


class NamespaceAudit(Audit):
    """The audit of the whole registry, for what is done in a namespace.

    Its lines name the namespace. The file, the thread and the quota of refusals are
    those of ``whole``, which is started and stopped for it.
    """

    def __init__(self, whole: Audit, namespace: str) -> None:
        super().__init__(whole._file, whole._clock, whole._replica)
        self._whole = whole
        self._namespace = namespace
        self._lock, self._refusals = whole._lock, whole._refusals

    def _line(
        self,
        event: str,
        fields: dict[str, Any],
        claim: Claim | None = None,
        by_request: bool = True,
    ) -> bytes:
        if by_request:
            fields = {"namespace": self._namespace, **fields}
        return super()._line(event, fields, claim, by_request)

    def _put(self, line: bytes) -> None:
        self._whole._put(line)


def _encoded(line: dict[str, Any]) -> bytes:
    """Return a line of JSON in ASCII, without line ends and control characters."""
    try:
        encoded = _encode(line)
    except UnicodeEncodeError:  # a lone surrogate, which JSON allows
        encoded = b"\x7f"
    if not encoded.isascii() or b"\x7f" in encoded:
        text = json.dumps(line, separators=(",", ":"))
        encoded = text.replace("\x7f", "\\u007f").encode()
    return encoded + b"\n"


_encode = msgspec.json.Encoder().encode


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}..."


OFF: Final = Audit(None, SystemClock(), "")
"""The audit of a registry without an audit file."""
