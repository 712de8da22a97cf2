"""The page that shows the API, in a real browser."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page

from e2e.dashboard.browser import RegistryProcess, browser, open_page, running_registry
from modularity_registry.model.rights import Right


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


@pytest.fixture
def live() -> Iterator[RegistryProcess]:
    with running_registry() as running:
        yield running


def opened(page: Page, operation: str) -> Locator:
    """Open a call and its form."""
    block = page.locator(f"[id$={operation}].opblock")
    block.locator(".opblock-summary-control").click()
    block.get_by_role("button", name="Try it out").click()
    return block


def answer(block: Locator) -> Locator:
    """Send the form as it is filled in."""
    block.get_by_role("button", name="Execute").click()
    table = block.locator(".live-responses-table")
    table.wait_for()
    return table


def test_a_call_can_be_tried_out_and_nothing_is_asked_elsewhere(
    chromium: Browser, live: RegistryProcess
) -> None:
    with open_page(chromium, live) as page:
        page.goto(f"{live.url}/docs")
        page.get_by_role("heading", name="Modularity Registry").wait_for()
        written = answer(opened(page, "-register"))
        assert "201" in written.inner_text()
        service = live.service("hello-service")
        assert service is not None and service["metadata"]["region"] == "eu"
        # Optional parameters are not filled in, or this would find nobody.
        listed = answer(opened(page, "-list_services"))
        assert '"id": "hello-service"' in listed.inner_text()


def locked(page: Page) -> set[str]:
    """Return the calls that have a lock."""
    page.locator(".opblock").first.wait_for()
    blocks = page.locator(".opblock:has(.authorization__btn)")
    ids: list[str] = blocks.evaluate_all("all => all.map(({ id }) => id)")
    return {each.rpartition("-")[2] for each in ids}


def test_only_calls_that_need_a_token_have_a_lock(
    chromium: Browser, live: RegistryProcess, tmp_path: Path
) -> None:
    with open_page(chromium, live) as page:
        page.goto(f"{live.url}/docs")
        assert locked(page) == set()
        assert page.get_by_role("button", name="Authorize").count() == 0
    tokens = {"auth": True, "tokens_file": str(tmp_path / "tokens")}
    for anonymous, reading in (([], True), ([Right.READ], False)):
        settings = {**tokens, "anonymous": anonymous}
        with (
            running_registry(**settings) as registry,
            open_page(chromium, registry) as page,
        ):
            page.goto(f"{registry.url}/docs")
            calls = locked(page)
            assert "register" in calls and "create_token" in calls
            assert ("list_services" in calls) is reading
            assert "read_health" not in calls


@pytest.mark.parametrize(("theme", "dark"), [("light", False), ("dark", True)])
def test_the_page_has_the_systems_theme(
    chromium: Browser, live: RegistryProcess, theme: Any, dark: bool
) -> None:
    with open_page(chromium, live, color_scheme=theme) as page:
        page.goto(f"{live.url}/docs")
        page.locator(".opblock").first.wait_for()
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (colour == "rgb(255, 255, 255)") is not dark


def test_the_page_shows_every_call(chromium: Browser, live: RegistryProcess) -> None:
    with open_page(chromium, live) as page:
        page.goto(f"{live.url}/docs")
        page.locator(".opblock").first.wait_for()
        described = page.evaluate(
            "fetch('/openapi.json').then(reply => reply.json()).then(document =>"
            " Object.values(document.paths).flatMap(Object.keys).length)"
        )
        assert page.locator(".opblock").count() == described
        assert page.locator(".errors-wrapper").count() == 0


def test_a_script_within_the_page_does_not_run(
    chromium: Browser, live: RegistryProcess
) -> None:
    refused = ("Executing inline script", "Refused to execute inline script")
    with open_page(chromium, live, expected=refused) as page:
        page.goto(f"{live.url}/docs")
        page.locator(".opblock").first.wait_for()
        page.evaluate(
            "const script = document.createElement('script');"
            "script.textContent = 'window.ran = true';"
            "document.body.append(script);"
        )
        assert page.evaluate("window.ran") is None
