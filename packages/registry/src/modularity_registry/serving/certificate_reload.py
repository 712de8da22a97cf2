"""The certificate that is served, and the next one once its files have changed."""

import logging
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime

from modularity_registry.errors import BadSetting
from modularity_registry.serving import certificates
from modularity_registry.serving.certificates import Files
from modularity_registry.telemetry import logs

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 2.0


def _now() -> datetime:
    return datetime.now(UTC)


class Certificates:
    """What is served by TLS now: ``current``. One thread at a time calls `look`.

    Raises `BadSetting` where there is nothing to begin with. A certificate that has
    expired is said to have, loudly, and served all the same: after a crash in the
    night, callers who don't mind are better off.
    """

    def __init__(self, files: Files, clock: Callable[[], datetime] = _now) -> None:
        self._files = files
        self._clock = clock
        self.current = certificates.load(files, files.read())
        self._seen = self.current.digest
        self._complaint: str | None = None
        self._due = 0.0
        self._log_expiry()

    @property
    def context(self) -> ssl.SSLContext:
        """What new connections are to be accepted with.

        A renewal makes a new one. In the one before, a key of another kind would stand
        beside the former, a former CA would still count, and a caller whom the new CA
        would refuse could resume a session.
        """
        return self.current.context

    def look(self, at_once: bool = False) -> bool:
        """Say whether `context` is another one now.

        Looks at the files every 2 s, however often it is called, and takes what it has
        found twice the same: a renewal writes one file after the other. ``at_once``
        does both now. What can't be served is logged and `current` stays.
        """
        now = time.monotonic()
        if not at_once and now < self._due:
            return False
        self._due = now + _LOOK_SECONDS
        try:
            contents = self._files.read()
            digest = certificates.digest(contents)
            settled = digest == self._seen or at_once
            self._seen = digest
            if digest == self.current.digest:
                self._complaint = None
            elif settled:
                self._take(contents)
                return True
        except BadSetting as error:
            self._complain(error.detail)
        return False

    def _take(self, contents: list[bytes]) -> None:
        material = certificates.load(self._files, contents)
        now = self._clock()
        fault = material.served.fault(now)
        if fault is not None and self.current.served.fault(now) is None:
            raise BadSetting(f"the certificate in --tls-cert {fault}")
        self.current = material
        self._complaint = None
        _log.info(
            "new connections get the renewed certificate",
            extra=logs.fields(expires=material.served.ends.isoformat()),
        )
        self._log_expiry()

    def _log_expiry(self) -> None:
        now = self._clock()
        served, accepted = self.current.served, self.current.accepted
        if fault := served.fault(now):
            _log.error(
                "the certificate in --tls-cert %s %s: callers refuse it; renew it, and"
                " it is taken up without a restart",
                self._files.cert,
                fault,
            )
        if accepted is not None and (fault := accepted.fault(now)):
            _log.error(
                "a CA in --tls-client-ca %s %s: callers whose certificates it has"
                " signed are refused",
                self._files.client_ca,
                fault,
            )

    def _complain(self, message: str) -> None:
        if message != self._complaint:
            self._complaint = message
            _log.error(
                "the certificate was not renewed, the one before is served on: %s",
                message,
            )
