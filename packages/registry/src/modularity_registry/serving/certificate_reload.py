"""The certificate that is served, and the next one once its files have changed."""

import logging
import time
from collections.abc import Callable, Iterator
from datetime import datetime

from prometheus_client.core import GaugeMetricFamily, Metric

from modularity_registry.errors import BadSetting
from modularity_registry.serving import certificates
from modularity_registry.serving.certificates import Files, Material
from modularity_registry.telemetry import logs

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 2.0
# What was refused may be good later without being written again: not valid yet.
_AGAIN_SECONDS = 60.0
_DAY = 86_400.0


class Certificates:
    """What is served by TLS now. One thread at a time calls `look`.

    ``current`` is what new connections get. Raises `BadSetting` where there is nothing
    to begin with. One that has expired is said to have, loudly, and served all the
    same: after a crash in the night, callers who don't mind are better off.
    """

    def __init__(
        self, files: Files, clock: Callable[[], datetime] = certificates.now
    ) -> None:
        self._files = files
        self._clock = clock
        self.current = certificates.load(files)
        self._seen = self.current.digest
        self._refused: str | None = None
        self._complaint: str | None = None
        self._due = 0.0
        self._again = 0.0
        self._log_expiry()

    def look(self, at_once: bool = False) -> Material | None:
        """Return what is served from now on, if that is something new, else None.

        Looks at the files every 2 s, however often it is called, and takes what it has
        found twice the same: a renewal writes one file after the other. ``at_once``
        does both now. What can't be served is logged and `current` stays.
        """
        now = time.monotonic()
        if not at_once and now < self._due:
            return None
        self._due = now + _LOOK_SECONDS
        try:
            digest = certificates.digest(self._files)
            settled = digest == self._seen or at_once
            self._seen = digest
            if digest == self.current.digest:
                self._complaint = self._refused = None
                return None
            if not settled or self._is_refused(digest, now, at_once):
                return None
            self._refused, self._again = digest, now + _AGAIN_SECONDS
            self._take(certificates.load(self._files))
        except BadSetting as error:
            self._complain(error.detail)
            return None
        return self.current

    def _is_refused(self, digest: str, now: float, at_once: bool) -> bool:
        return digest == self._refused and now < self._again and not at_once

    def _take(self, material: Material) -> None:
        now = self._clock()
        fault = material.served.fault(now)
        if fault is not None and self.current.served.fault(now) is None:
            material.close()
            raise BadSetting(f"the certificate in --tls-cert {fault}")
        self.current.close()
        self.current = material
        self._seen = material.digest
        self._refused = self._complaint = None
        _log.info(
            "new connections get the renewed certificate",
            extra=logs.fields(expires=material.served.ends.isoformat()),
        )
        self._log_expiry()

    def _log_expiry(self) -> None:
        now = self._clock()
        fault = self.current.served.fault(now)
        if fault is not None:
            _log.error(
                "the certificate in --tls-cert %s %s: callers refuse it; renew it, and"
                " it is taken up without a restart",
                self._files.cert,
                fault,
            )
        accepted = self.current.accepted
        fault = None if accepted is None else accepted.fault(now)
        if fault is not None:
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


class Expiries:
    """Gives Prometheus' client when certificates expire; nothing without TLS."""

    def __init__(self, certificates: Certificates | None) -> None:
        self._certificates = certificates

    def collect(self) -> Iterator[Metric]:
        """Yield both families, each once."""
        ends = GaugeMetricFamily(
            "registry_tls_certificate_expiry_timestamp_seconds",
            "When what is served by TLS expires, in seconds since 1970.",
            labels=["certificate"],
        )
        left = GaugeMetricFamily(
            "registry_tls_certificate_expiry_days",
            "Days until then; negative afterwards.",
            labels=["certificate"],
        )
        for name, moment in self._moments():
            ends.add_metric([name], moment.timestamp())
            left.add_metric(
                [name], (moment - certificates.now()).total_seconds() / _DAY
            )
        yield ends
        yield left

    def _moments(self) -> Iterator[tuple[str, datetime]]:
        if self._certificates is None:
            return
        current = self._certificates.current
        yield "server", current.served.ends
        if current.accepted is not None:
            yield "client_ca", current.accepted.ends
