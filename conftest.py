"""What holds for all tests of the workspace."""

import os
import signal
from collections.abc import Generator

import hypothesis
import pytest

# Started in the background, the tests ignore Ctrl-C, and so would all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine is slow, and a failure has to be repeatable from what was printed.
hypothesis.settings.register_profile("registry", deadline=None, print_blob=True)
hypothesis.settings.load_profile("registry")


# They mostly wait. Were they the last ones, the machine would wait with them.
FIRST = (
    "api/test_prometheus_sd.py",
    "e2e/deploy/test_image.py",
    "e2e/partition",
    "e2e/proxies",
    "faults/replicas",
    "integration/eureka",
    "integration/mirror",
)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest tests."""
    items.sort(key=lambda item: not any(part in item.nodeid for part in FIRST))


Report = Generator[None, pytest.TestReport, pytest.TestReport]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Report:
    """Where everything is installed, a test that skips has lost what it needs."""
    report = yield
    skipped = report.skipped and not hasattr(report, "wasxfail")
    if os.environ.get("CI") == "true" and skipped:
        report.outcome = "failed"
    return report
