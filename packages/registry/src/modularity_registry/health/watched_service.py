"""A registration under watch, and what has been seen of it since."""

import sys
from datetime import datetime

from modularity_registry.model.location import InvalidLocation
from modularity_registry.model.rights import token_of
from modularity_registry.model.service import CheckPlan, Registration, Service


class WatchedService:
    """A registration under watch: by checks (``plan``), by its lease, or both.

    ``passed`` says that a check has succeeded since the registration, ``doubted`` how
    many of the ``failures`` in a row began while the registry doubted itself. ``due``
    is when the next check should begin (seconds, monotonic). ``drifted`` says that a
    shorter interval has moved it apart from those that registered at the same time.
    """

    __slots__ = (
        "doubted",
        "drifted",
        "due",
        "failures",
        "gone",
        "has_fault",
        "host",
        "id",
        "owner",
        "passed",
        "plan",
        "registered_at",
        "successes",
        "ttl",
    )

    def __init__(self, service: Service, plan: CheckPlan | None, passed: bool) -> None:
        registration = service.registration
        self.id = registration.id
        self.registered_at: datetime = service.registered_at
        self.plan = plan
        self.ttl = registration.ttl
        self.owner = token_of(service.owner)
        self.host = _host(registration) if plan is not None else ""
        self.has_fault = has_check_fault(service)
        self.passed = passed
        self.failures = 0
        self.doubted = 0
        self.drifted = False
        self.successes = 0
        self.due = 0.0
        self.gone = False

    @property
    def good(self) -> bool:
        """It has passed a check, and was not found unhealthy since."""
        return self.passed and not self.has_fault

    @property
    def failing(self) -> bool:
        """Good so far, but the last check failed."""
        return self.good and self.failures > 0


def has_check_fault(service: Service) -> bool:
    """Say whether a check has found the service unhealthy."""
    return any(fault.source == "check" for fault in service.faults)


def _host(registration: Registration) -> str:
    try:
        return sys.intern(registration.parsed_location.host)
    except InvalidLocation:  # stored by a version that took it
        return registration.location
