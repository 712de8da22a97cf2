"""The dashboard of one namespace at a time, which is in the page's address."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, Page, expect

from e2e.dashboard.browser import (
    NO_ANSWER,
    RegistryProcess,
    browser,
    open_page,
    running_registry,
)
from modularity_registry import tokens
from modularity_registry.model.rights import Right, TokenRequest
from modularity_registry.tokens.file_backend import FileTokenBackend
from support.registry import registration


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def divided() -> Iterator[RegistryProcess]:
    with running_registry(namespace=["team-a", "team-b"]) as registry:
        registry.register("everybodys")
        register(registry, "team-a", "only-a")
        yield registry


def register(registry: RegistryProcess, namespace: str, service_id: str) -> None:
    body = registration(service_id, mode="standalone", location="somewhere")
    path = f"{registry.url}/api/ns/{namespace}/register"
    assert requests.post(path, json=body, timeout=10).ok


def chooser(page: Page) -> Any:
    return page.get_by_label("Namespace")


def test_all_views_are_of_the_chosen_namespace(
    divided: RegistryProcess, chromium: Browser
) -> None:
    with open_page(chromium, divided) as page:
        page.goto(f"{divided.url}/#/services")
        expect(page.locator("main")).to_contain_text("everybodys")
        expect(chooser(page)).to_have_value("default")
        expect(chooser(page).locator("option")).to_have_text(
            ["default", "team-a", "team-b"]
        )
        paths: list[str] = []
        page.on("request", lambda request: paths.append(request.url))
        chooser(page).select_option("team-a")
        page.wait_for_url(f"{divided.url}/?namespace=team-a#/services")
        expect(page.locator("main")).to_contain_text("only-a")
        expect(page.locator("main")).not_to_contain_text("everybodys")
        expect(page.get_by_text("Live", exact=True)).to_be_visible()
        expect(page).to_have_title("Services · team-a · Modularity Registry")
        for tab in ("Capabilities", "Graph", "Registry"):
            page.get_by_role("link", name=tab, exact=True).click()
            expect(page).to_have_url(re.compile(r"\?namespace=team-a#/"))
            expect(page.locator("main")).not_to_contain_text("everybodys")
        page.goto(f"{divided.url}/?namespace=team-a#/services/only-a")
        expect(page.locator("main")).to_contain_text("only-a")
        calls = [each.removeprefix(divided.url) for each in paths if "/api/" in each]
        assert calls
        assert {each for each in calls if "/api/ns/team-a/" not in each} == {
            "/api/namespaces"
        }


def test_changes_come_and_go_to_the_namespace(
    divided: RegistryProcess, chromium: Browser
) -> None:
    with open_page(chromium, divided) as page:
        page.goto(f"{divided.url}/?namespace=team-b#/services")
        expect(page.get_by_text("Live", exact=True)).to_be_visible()
        divided.register("outside")
        register(divided, "team-b", "inside")
        expect(page.locator("main")).to_contain_text("inside")
        expect(page.locator("main")).not_to_contain_text("outside")
        page.goto(f"{divided.url}/?namespace=team-b#/services/inside")
        page.get_by_role("button", name="Unregister").click()
        page.get_by_role("dialog").get_by_role("button", name="Unregister").click()
        expect(page).to_have_url(f"{divided.url}/?namespace=team-b#/services")
        divided.delete("/api/services/outside")
        there = requests.get(f"{divided.url}/api/ns/team-b/services", timeout=10)
        assert there.json()["services"] == []


def test_back_returns_to_the_namespace_before(
    divided: RegistryProcess, chromium: Browser
) -> None:
    with open_page(chromium, divided) as page:
        page.goto(f"{divided.url}/#/graph")
        expect(chooser(page)).to_have_value("default")
        chooser(page).select_option("team-b")
        page.wait_for_url(f"{divided.url}/?namespace=team-b#/graph")
        expect(chooser(page)).to_have_value("team-b")
        page.go_back()
        expect(page).to_have_url(f"{divided.url}/#/graph")
        expect(chooser(page)).to_have_value("default")


@pytest.mark.parametrize("name", ["team-c", "..", "A%2Fb"])
def test_a_namespace_that_is_not_there_is_said_and_can_be_left(
    name: str, divided: RegistryProcess, chromium: Browser
) -> None:
    with open_page(chromium, divided, (NO_ANSWER,)) as page:
        page.goto(f"{divided.url}/?namespace={name}#/services")
        expect(page.locator("#banner")).to_contain_text("namespace")
        expect(page.locator("main")).not_to_contain_text("everybodys")
        chooser(page).select_option("default")
        page.wait_for_url(f"{divided.url}/#/services")
        expect(page.locator("main")).to_contain_text("everybodys")


def test_without_namespaces_there_is_no_chooser(chromium: Browser) -> None:
    with running_registry() as registry, open_page(chromium, registry) as page:
        with page.expect_response("**/api/namespaces"):
            page.goto(f"{registry.url}/#/services")
        expect(page.get_by_text("Live", exact=True)).to_be_visible()
        expect(page.locator("#namespace")).to_be_hidden()


def test_a_token_goes_along_and_is_not_kept(tmp_path: Path, chromium: Browser) -> None:
    file = tmp_path / "tokens.json"
    request = TokenRequest("boss", frozenset({Right.ADMIN}))
    admin = tokens.create(FileTokenBackend(str(file)), request, datetime.now(UTC)).text
    settings = {"auth": True, "tokens_file": str(file), "namespace": ["team-a"]}
    with (
        running_registry(**settings) as registry,
        open_page(chromium, registry, (NO_ANSWER,)) as page,
    ):
        page.goto(f"{registry.url}/#/services")
        page.get_by_role("dialog").get_by_role("checkbox").uncheck()
        page.get_by_role("dialog").get_by_role("textbox").fill(admin)
        page.keyboard.press("Enter")
        expect(page.get_by_text("Live", exact=True)).to_be_visible()
        chooser(page).select_option("team-a")
        page.wait_for_url(f"{registry.url}/?namespace=team-a#/services")
        expect(page.get_by_text("Live", exact=True)).to_be_visible()
        expect(page.locator("#token")).to_contain_text("boss")
        assert page.evaluate("JSON.stringify(sessionStorage)") == "{}"
