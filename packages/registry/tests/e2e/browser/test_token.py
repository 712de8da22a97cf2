"""The dashboard where there are tokens: it asks, says who one is, keeps nothing."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, Locator, Page, Request, Route, expect

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

ASKED = "Enter an access token"


class Guarded:
    """A registry that has tokens, and the text of an admin's."""

    def __init__(self, registry: RegistryProcess, admin: str) -> None:
        self.registry = registry
        self.url = registry.url
        self.admin = admin

    def token(self, name: str, *rights: Right, **bounds: Any) -> str:
        """Make a token; return its text."""
        body = {"name": name, "rights": rights, **bounds}
        return str(self.call("POST", "/api/tokens", self.admin, body)["token"])

    def register(self, service_id: str, token: str) -> None:
        body = registration(service_id, mode="standalone", location="somewhere")
        self.call("POST", "/api/register", token, body)

    def call(
        self, method: str, path: str, token: str, body: Any = None
    ) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {token}"}
        reply = requests.request(
            method, f"{self.url}{path}", json=body, headers=headers, timeout=10
        )
        assert reply.ok, reply.text
        result: dict[str, Any] = reply.json()
        return result


@contextmanager
def guarded(folder: Path, **settings: Any) -> Iterator[Guarded]:
    path = str(folder / "tokens.json")
    wish = TokenRequest("boss", frozenset({Right.ADMIN}))
    admin = tokens.create(FileTokenBackend(path), wish, datetime.now(UTC)).text
    with running_registry(auth=True, tokens_file=path, **settings) as started:
        yield Guarded(started, admin)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with guarded(tmp_path_factory.mktemp("closed")) as started:
        yield started


def dialog(page: Page) -> Locator:
    return page.get_by_role("dialog")


def enter(page: Page, token: str, keep: bool = True) -> None:
    """Answer the page's question, or give it another token."""
    if not dialog(page).count():
        page.get_by_role("button", name="Access token").click()
    dialog(page).get_by_label("Keep it").set_checked(keep)
    dialog(page).get_by_label("Token").fill(token)
    page.keyboard.press("Enter")


def come(
    page: Page,
    registry: Guarded,
    token: str,
    view: str = "/services",
    keep: bool = True,
) -> None:
    page.goto(f"{registry.url}/#{view}")
    expect(dialog(page)).to_contain_text(ASKED)
    enter(page, token, keep)
    expect(dialog(page)).to_have_count(0)
    expect(page.locator("#live")).to_have_text("Live")


def facts(page: Page) -> dict[str, str]:
    """Who one is, as the page says."""
    page.get_by_role("button", name="Access token").click()
    fact_list = dialog(page).locator(".facts")
    names = fact_list.locator("dt").all_inner_texts()
    result = dict(zip(names, fact_list.locator("dd").all_inner_texts(), strict=True))
    page.keyboard.press("Escape")
    expect(dialog(page)).to_have_count(0)
    return result


def test_the_page_asks_for_a_token_and_takes_no_wrong_one(
    chromium: Browser, closed: Guarded
) -> None:
    closed.register("shown", closed.admin)
    with open_page(chromium, closed.registry, (NO_ANSWER,)) as page:
        page.goto(f"{closed.url}/#/services")
        expect(dialog(page)).to_contain_text(ASKED)
        expect(dialog(page).get_by_label("Token")).to_be_focused()
        for wrong, message in (
            ("", "Enter a token."),
            ("two words", "contains a space or an unusual character"),
            ("schlüssel", "contains a space or an unusual character"),
            ("mreg_wrong", "The registry rejected this access token."),
        ):
            enter(page, wrong)
            expect(dialog(page).get_by_role("alert")).to_contain_text(message)
        assert page.locator(".sizer .row").count() == 0
        enter(page, f"  {closed.admin} ")
        expect(page.locator(".toast")).to_contain_text("You are signed in as boss.")
        expect(page.locator("#live")).to_have_text("Live")
        expect(page.locator('.row[data-key="shown"]')).to_be_visible()
        expect(page.locator("#banner")).to_be_hidden()
        expect(page.locator("#token")).to_have_text("boss")


def test_who_does_not_answer_is_not_asked_again_and_again(
    chromium: Browser, closed: Guarded
) -> None:
    with open_page(chromium, closed.registry, (NO_ANSWER,)) as page:
        page.goto(f"{closed.url}/#/services/shown")
        expect(dialog(page)).to_contain_text(ASKED)
        page.keyboard.press("Escape")
        # It goes on looking every two seconds, but leaves one alone.
        for _ in range(2):
            with page.expect_response(re.compile("/api/services/shown$")):
                pass
        expect(dialog(page)).to_have_count(0)
        message = "You need an access token. Enter it with the key button"
        expect(page.locator("#banner")).to_contain_text(message)
        enter(page, closed.admin)
        expect(page.locator("#live")).to_have_text("Live")


def test_the_token_is_in_no_place_but_the_pages_memory(
    chromium: Browser, closed: Guarded
) -> None:
    sent: list[Request] = []
    with open_page(chromium, closed.registry, (NO_ANSWER,)) as page:
        page.on("request", lambda request: sent.append(request))
        come(page, closed, closed.admin, keep=False)
        stored = page.evaluate(
            "async () => JSON.stringify([{...localStorage}, {...sessionStorage},"
            " document.cookie, location.href, history.state, window.name,"
            " await indexedDB.databases(), await caches.keys(),"
            " document.documentElement.outerHTML])"
        )
        assert closed.admin not in stored
        assert page.context.cookies() == []
        page.goto(f"{closed.url}/#/registry")
        expect(page.locator(".card").first).to_be_visible()
        assert [request.url for request in sent if closed.admin in request.url] == []
        with_token = [request for request in sent if "authorization" in request.headers]
        assert len(with_token) > 3
        assert all(
            request.url.startswith(f"{closed.url}/api/")
            or request.url == f"{closed.url}/health"
            for request in with_token
        )
        page.reload()
        expect(dialog(page)).to_contain_text(ASKED)


def test_a_token_outlives_a_reload_of_its_tab_and_no_more(
    chromium: Browser, closed: Guarded
) -> None:
    with open_page(chromium, closed.registry, (NO_ANSWER,)) as page:
        come(page, closed, closed.admin)
        assert page.evaluate("Object.values(localStorage)") == []
        page.reload()
        expect(page.locator("#live")).to_have_text("Live")
        expect(page.get_by_role("button", name="Access token: ")).to_be_visible()
        other = page.context.new_page()
        other.goto(f"{closed.url}/")
        expect(dialog(other)).to_contain_text(ASKED)
        other.close()
        page.get_by_role("button", name="Access token").click()
        dialog(page).get_by_role("button", name="Forget").click()
        expect(dialog(page)).to_contain_text(ASKED)
        page.reload()
        expect(dialog(page)).to_contain_text(ASKED)


def test_a_token_can_be_forgotten_with_all_that_it_showed(
    chromium: Browser, closed: Guarded
) -> None:
    closed.register("secret-plan", closed.admin)
    with open_page(chromium, closed.registry, (NO_ANSWER,)) as page:
        come(page, closed, closed.admin)
        expect(page.locator('.row[data-key="secret-plan"]')).to_be_visible()
        page.get_by_role("button", name="Access token").click()
        dialog(page).get_by_role("button", name="Forget").click()
        expect(dialog(page)).to_contain_text(ASKED)
        assert "secret-plan" not in page.content()


def test_it_says_who_one_is_and_what_one_may_do(
    chromium: Browser, closed: Guarded
) -> None:
    viewer = closed.token("viewer", Right.READ, expires_in=3600)
    bounds = {"ids": ["team-*", "x"], "capabilities": ["greet"]}
    team = closed.token("team", Right.READ, Right.REGISTER, **bounds)
    with open_page(chromium, closed.registry, (NO_ANSWER,)) as page:
        come(page, closed, viewer)
        viewer_facts = facts(page)
        assert viewer_facts["Token"] == "viewer"
        assert viewer_facts["Permissions"] == "View services"
        assert re.search(r"20\d\d", viewer_facts["Expires"])
        enter(page, team)
        expect(page.locator("#token")).to_have_text("team")
        assert facts(page) == {
            "Token": "team",
            "Permissions": "View services; register, drain and unregister" " services",
            "IDs": "team-*, x",
            "Capabilities": "greet",
            "Expires": "Never",
        }
        enter(page, closed.admin)
        expect(page.locator("#token")).to_have_text("boss")
        assert facts(page)["Permissions"] == "Everything, including tokens"


def test_what_one_may_not_do_is_not_offered(chromium: Browser, closed: Guarded) -> None:
    viewer = closed.token("onlooker", Right.READ)
    mine = closed.token("mine", Right.READ, Right.REGISTER, ids=["my-*", "*-too"])
    closed.register("my-own", mine)
    closed.register("my-bosses", closed.admin)
    closed.register("theirs", closed.admin)
    cases = (
        (viewer, "my-own", "Your token onlooker may not change services."),
        (mine, "my-own", ""),
        (mine, "theirs", "Your token mine is limited to the IDs my-*, *-too."),
        (
            mine,
            "my-bosses",
            "This service belongs to boss. Only that token or an admin token",
        ),
        (closed.admin, "my-own", ""),
    )
    with open_page(chromium, closed.registry, (NO_ANSWER,)) as page:
        come(page, closed, viewer)
        for token, service_id, why in cases:
            enter(page, token)
            expect(dialog(page)).to_have_count(0)
            page.goto(f"{closed.url}/#/services/{service_id}")
            expect(page.locator(".subtitle")).to_contain_text(service_id)
            for verb in ("Drain", "Unregister"):
                button = page.locator(".actions").get_by_role("button", name=verb)
                if why:
                    expect(button).to_be_disabled()
                    expect(button).to_have_accessible_description(re.compile(why[:30]))
                else:
                    expect(button).to_be_enabled()
            if why:
                expect(page.locator(".denial")).to_contain_text(why)
            else:
                expect(page.locator(".denial")).to_have_count(0)


def test_a_token_that_is_revoked_ends_the_stream_and_the_page_asks(
    chromium: Browser, closed: Guarded
) -> None:
    short = closed.token("short-lived", Right.READ)
    with open_page(chromium, closed.registry, (NO_ANSWER,)) as page:
        come(page, closed, short)
        closed.call("DELETE", "/api/tokens/short-lived", closed.admin)
        expect(page.locator("#live")).to_have_text("Disconnected")
        expect(dialog(page)).to_contain_text(ASKED)
        message = "The registry rejected this access token."
        expect(dialog(page)).to_contain_text(message)
        expect(page.locator("#banner")).to_contain_text(message)
        expect(page.locator("#token")).to_have_text("")
        closed.register("meanwhile", closed.admin)
        enter(page, closed.admin)
        expect(page.locator("#live")).to_have_text("Live")
        expect(page.locator("#banner")).to_be_hidden()
        expect(page.locator('.row[data-key="meanwhile"]')).to_be_visible()


def answer(status: int, code: str) -> Callable[[Route], None]:
    body = json.dumps({"detail": "not yours", "code": code})
    return lambda route: route.fulfill(status=status, body=body)


def test_a_refusal_that_could_not_be_foreseen_is_told_in_words(
    chromium: Browser, closed: Guarded
) -> None:
    one = closed.token("one", Right.READ, Right.REGISTER)
    closed.register("contested", one)
    refusals = (
        (409, "owned_by_another", "This service belongs to someone else. Not yours."),
        (403, "forbidden", "Your access token does not allow this. Not yours."),
        (403, "origin_refused", "The registry does not accept changes from this page."),
        (401, "unauthorized", "The registry rejected this access token."),
    )
    with open_page(chromium, closed.registry, (NO_ANSWER,)) as page:
        come(page, closed, one, "/services/contested")
        for status, code, message in refusals:
            page.unroute_all()
            page.route("**/drain", answer(status, code))
            page.locator(".actions").get_by_role("button", name="Drain").click()
            dialog(page).get_by_role("button", name="Drain").click()
            expect(dialog(page).get_by_role("alert")).to_contain_text(message)
            page.keyboard.press("Escape")


def test_readers_without_a_token_are_left_in_peace(
    chromium: Browser, tmp_path: Path
) -> None:
    with guarded(tmp_path, anonymous=["read"]) as open_to_read:
        open_to_read.register("public", open_to_read.admin)
        with open_page(chromium, open_to_read.registry) as page:
            page.goto(f"{open_to_read.url}/#/services/public")
            expect(page.locator("#live")).to_have_text("Live")
            button = page.locator(".actions").get_by_role("button", name="Drain")
            expect(button).to_be_disabled()
            message = "You need an access token to change services"
            expect(page.locator(".denial")).to_contain_text(message)
            expect(dialog(page)).to_have_count(0)
            assert facts(page) == {
                "Access": "Without a token",
                "Permissions": "View services",
            }
            enter(page, open_to_read.admin)
            expect(button).to_be_enabled()


def test_without_tokens_nobody_is_asked(chromium: Browser) -> None:
    with running_registry() as registry, open_page(chromium, registry) as page:
        registry.register("free")
        page.goto(f"{registry.url}/#/services/free")
        drain = page.locator(".actions").get_by_role("button", name="Drain")
        expect(drain).to_be_enabled()
        expect(page.locator("#live")).to_have_text("Live")
        assert "needs no token" in facts(page)["Access"]
