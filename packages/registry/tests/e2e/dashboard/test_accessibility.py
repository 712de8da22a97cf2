"""What axe-core finds on each page: nothing."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.base import (  # type: ignore[import-untyped]  # no stubs
    AXE_FILE_PATH,
)
from playwright.sync_api import Browser, Page

from e2e.dashboard.browser import (
    RegistryProcess,
    browser,
    open_page,
    running_registry,
)

# What each page shows when it is ready.
PAGES = {
    "#/services": ".sizer .row",
    "#/services?q=nobody": ".empty h2",
    "#/services/web-1": ".facts",
    "#/services/gone": ".empty h2",
    "#/capabilities": ".sizer .row",
    "#/capabilities/greet": ".providers .card",
    "#/graph": ".picture",
    "#/registry": ".bars",
}
DOCS = {
    "docs": ".opblock",
    "docs#/Services/register": ".opblock.is-open",
}
SIZES = {
    "desktop": {"width": 1280, "height": 800},
    "phone": {"width": 390, "height": 844},
}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def filled() -> Iterator[RegistryProcess]:
    with running_registry() as registry:
        for number in range(1, 30):
            registry.register(f"web-{number}", capabilities=["greet", "shop.cart"])
        registry.put("/api/services/web-3/drain", {"reason": "upgrade"})
        registry.invoked("web-1", "web-2", success=True, latency_ms=5)
        yield registry


@pytest.fixture(scope="module")
def empty() -> Iterator[RegistryProcess]:
    with running_registry() as registry:
        yield registry


def violations(page: Page) -> list[str]:
    """Return what axe-core finds, one line for each rule and element."""
    page.evaluate(AXE_FILE_PATH.read_text())
    found: dict[str, Any] = page.evaluate("axe.run()")
    return [
        f"{rule['id']}: {node['target']} {node['failureSummary']}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_axe_finds_nothing_on_any_page(
    chromium: Browser, filled: RegistryProcess, theme: Any, size: str
) -> None:
    pages = PAGES | DOCS if size == "desktop" else PAGES
    found = {}
    options = {"color_scheme": theme, "viewport": SIZES[size]}
    # The page of a service that is not there asks for it.
    expected = ("Failed to load resource",)
    with open_page(chromium, filled, expected, **options) as page:
        for path, ready in pages.items():
            page.goto(f"{filled.url}/{path}")
            page.reload()  # a change of the fragment alone loads nothing
            page.locator(ready).first.wait_for()
            if lines := violations(page):
                found[path] = lines
    assert found == {}, json.dumps(found, indent=2)


@pytest.mark.parametrize("view", ["services", "capabilities", "graph"])
def test_axe_finds_nothing_where_nothing_is(
    chromium: Browser, empty: RegistryProcess, view: str
) -> None:
    with open_page(chromium, empty) as page:
        page.goto(f"{empty.url}/#/{view}")
        page.locator(".empty h2").wait_for()
        assert violations(page) == []
