"""A registration under watch, and what has been seen of it since."""

import sys
from collections.abc import Hashable
from datetime import datetime

from modularity_registry.model.checks import ServiceCheck
from modularity_registry.model.location import InvalidLocation
from modularity_registry.model.rights import token_of
from modularity_registry.model.service import CheckPlan, Fault, Registration, Service


class WatchedService:
    """A registration under watch: by checks (``plan``), by its lease, or both.

    ``passed`` says that a check has succeeded since the registration, ``doubted`` how
    many of the ``failures`` in a row began while the registry doubted itself. Checks
    that warn count among the ``successes`` in a row, but not ``clean`` ones. ``due``
    is when the next check should begin (seconds, monotonic), and ``recorded`` says that
    the outcome of the one under way has set it. ``drifted`` says that a shorter
    interval has moved it apart from those that registered at the same time.
    """

    __slots__ = (
        "clean",
        "doubted",
        "drifted",
        "due",
        "failures",
        "gone",
        "has_fault",
        "has_warning",
        "host",
        "id",
        "owner",
        "passed",
        "plan",
        "recorded",
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
        self.has_warning = has_check_warning(service)
        self.passed = passed
        self.failures = 0
        self.doubted = 0
        self.drifted = False
        self.successes = 0
        self.clean = 0
        self.due = 0.0
        self.recorded = False
        self.gone = False

    name = ""
    """The name of the check; empty for that of the mode."""

    @property
    def key(self) -> Hashable:
        """What is different for each under watch."""
        return self.id

    @property
    def good(self) -> bool:
        """It has passed a check, and was not found unhealthy since."""
        return self.passed and not self.has_fault

    @property
    def failing(self) -> bool:
        """Good so far, but the last check failed."""
        return self.good and self.failures > 0


class WatchedCheck(WatchedService):
    """A check with a name: of one registration, but under watch by itself.

    One that the service reports itself has no ``plan``, but a ``ttl``.
    """

    __slots__ = ("critical", "name", "verifies")

    def __init__(
        self,
        service: Service,
        plan: CheckPlan | None,
        passed: bool,
        check: ServiceCheck,
    ) -> None:
        super().__init__(service, plan, passed)
        self.name = check.name
        self.critical = check.critical
        self.verifies = check.kind == "module"
        self.ttl = check.ttl  # not the service's
        self.has_fault = has_check_fault(service, check.name)
        self.has_warning = has_check_warning(service, check.name)

    @property
    def key(self) -> Hashable:
        return self.id, self.name

    @property
    def good(self) -> bool:
        """Never: the registry doubts itself because of services, each counted once."""
        return False


def has_check_fault(service: Service, name: str = "") -> bool:
    """Say whether the check with this name, or the mode's own, has found fault."""
    return _has(service.faults, name)


def has_check_warning(service: Service, name: str = "") -> bool:
    """Say whether the check with this name, or the mode's own, has warned."""
    return _has(service.warnings, name)


def _has(faults: tuple[Fault, ...], name: str) -> bool:
    return any(fault.source == "check" and fault.check == name for fault in faults)


def _host(registration: Registration) -> str:
    try:
        return sys.intern(registration.parsed_location.host)
    except InvalidLocation:  # stored by a version that took it
        return registration.location
