"""Stored text is text: nothing of it runs, and all of it is shown as it was given."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import pytest
import requests
from playwright.sync_api import Browser, Dialog, Page, expect

from e2e.dashboard.browser import (
    NO_ANSWER,
    RegistryProcess,
    browser,
    open_page,
    running_registry,
    wait_for_script,
)
from support.hostile_texts import FAR, TEXTS

# Before any script of the page: who is hurt says so, and so does the policy.
WATCH = """
window.wounds = [];
window.hurt = parent.hurt ??= (...given) => window.wounds.push(["ran", ...given]);
for (const name of ["alert", "confirm", "prompt", "open"]) {
  window[name] = (...given) => window.wounds.push([name, ...given]);
}
document.addEventListener("securitypolicyviolation", (event) => {
  window.wounds.push([event.violatedDirective, event.blockedURI, event.sample]);
});
"""
# Ids and capabilities that look like something else to a careless script.
NAMES = ("constructor", "prototype", "toString", "valueOf", "hasOwnProperty", "then")


def ids() -> Iterator[tuple[str, str]]:
    for number, text in enumerate(TEXTS):
        yield (f"hostile-{number:02}", text)
    for name in NAMES:
        yield (name, f"{name} <img src=x onerror=hurt()>")


HOSTILE = dict(ids())


def fill(registry: RegistryProcess) -> None:
    """Have every text wherever a service, or who reports of one, may put it."""
    for service_id, text in HOSTILE.items():
        registry.register(
            service_id,
            name=text,
            version=text[:128],
            location=text,
            capabilities=["greet", service_id],
            metadata={
                text: text,
                "runtime": text,
                "nested": {text: [text, {"__proto__": text, "toJSON": text}]},
                "__proto__": {"hurt": True},
                "constructor": {"prototype": {"hurt": True}},
            },
        )
    for number, (service_id, text) in enumerate(HOSTILE.items()):
        path = f"/api/services/{quote(service_id)}"
        if number % 3 == 0:
            registry.put(f"{path}/drain", {"reason": text[:200]})
        elif number % 3 == 1:
            note = {"status": "unhealthy", "note": text[:200]}
            url = f"{registry.url}{path}/heartbeat"
            assert requests.post(url, json=note, timeout=10).status_code == 200
        registry.invoked(service_id, "hostile-00", success=number % 2 == 0)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def hostile() -> Iterator[RegistryProcess]:
    with running_registry() as started:
        fill(started)
        yield started


@contextmanager
def watched(
    chromium: Browser, registry: RegistryProcess, expected: tuple[str, ...] = ()
) -> Iterator[Page]:
    """A page that is unharmed in the end."""
    with open_page(chromium, registry, expected) as page:
        dialogs: list[str] = []

        def on_dialog(dialog: Dialog) -> None:
            dialogs.append(dialog.message)
            dialog.dismiss()

        page.on("dialog", on_dialog)
        page.add_init_script(WATCH)
        yield page
        if page.locator("#main").count():
            untouched(page)
        unharmed(page)
        assert dialogs == []
        assert len(page.context.pages) == 1


def unharmed(page: Page) -> None:
    assert page.evaluate("window.wounds") == []
    # No object has anything that was registered.
    assert page.evaluate("({}).hurt ?? null") is None


def untouched(page: Page) -> None:
    """Nothing ran, and no element is there that the dashboard does not make."""
    unharmed(page)
    made = "script:not([src]), style, iframe, object, embed, base, form, video, math"
    assert page.locator(f":is({made}, [onerror], [onload], [onfocus])").count() == 0
    links = "a:not([href^='#']):not([href^='/']):not(.foot a)"
    assert page.locator(links).count() == 0


def show(page: Page, registry: RegistryProcess, view: str) -> None:
    page.goto(f"{registry.url}/#{view}")
    expect(page.locator("#live")).to_have_text("Live")


def exact(page: Page, selector: str) -> list[str]:
    """The texts of elements to the letter, which `inner_text` is not."""
    contents: list[str] = page.locator(selector).evaluate_all(
        "all => all.map(each => each.textContent)"
    )
    return contents


def open_view(page: Page, view: str) -> None:
    page.evaluate("view => { location.hash = view }", view)


def test_there_are_enough_of_them() -> None:
    assert len(set(TEXTS)) == len(TEXTS) >= 50


def test_the_list_shows_every_text_as_it_was_given(
    chromium: Browser, hostile: RegistryProcess
) -> None:
    with watched(chromium, hostile) as page:
        page.set_viewport_size({"width": 1200, "height": 60 * len(HOSTILE) + 600})
        show(page, hostile, "/services")
        expect(page.locator(".sizer .row")).to_have_count(len(HOSTILE))
        assert sorted(exact(page, ".sizer .at-name a")) == sorted(HOSTILE)
        assert sorted(exact(page, ".sizer .at-location small")) == sorted(
            HOSTILE.values()
        )
        for number, (service_id, text) in enumerate(HOSTILE.items()):
            row = f'.sizer .row[data-key="{service_id}"]'
            assert exact(page, f"{row} .at-name small") == [f"{text} · {text[:128]}"]
            reasons = [] if number % 3 == 2 else [text[:200]]
            assert exact(page, f"{row} .at-reason") == reasons
        page.locator("input[type=search]").fill("<script>hurt()</script>")
        expect(page.locator('.row[data-key="hostile-00"]')).to_be_visible()
        page.get_by_label("Capability", exact=True).fill("constructor")
        # An order that nobody offers.
        page.goto(f"{hostile.url}/#/services?sort=constructor&q=%3Cimg")
        page.reload()
        expect(page.locator(".sizer .row").first).to_be_visible()


def test_a_services_page_shows_all_that_was_said_of_it(
    chromium: Browser, hostile: RegistryProcess
) -> None:
    with watched(chromium, hostile) as page:
        show(page, hostile, "/services")
        for number, (service_id, text) in enumerate(HOSTILE.items()):
            open_view(page, f"#/services/{quote(service_id)}")
            wait_for_script(
                page, "name => document.querySelector('h1').textContent === name", text
            )
            expect(page.locator(".hour .changes li").first).to_be_attached()
            wait_for_script(page, "document.querySelector('.plain td a') !== null")
            facts = dict(
                zip(exact(page, ".facts dt"), exact(page, ".facts dd"), strict=True)
            )
            assert facts["Location"] == text
            assert facts["Version"] == text[:128]
            if text not in ("constructor", "__proto__"):
                assert facts[text] == text
            assert facts["__proto__"] in ('{"hurt":true}', text)
            nested = json.loads(facts["nested"])
            assert list(nested) == [text]
            assert nested[text][1]["toJSON"] == text
            if number % 3 < 2:
                [reason] = exact(page, ".reason-box p")
                assert reason == text[:200]
                assert text[:200] in exact(page, ".changes .reason")
            assert page.title() == f"{service_id} · Modularity Registry"
            untouched(page)


def test_questions_name_whom_they_are_about(
    chromium: Browser, hostile: RegistryProcess
) -> None:
    with watched(chromium, hostile) as page:
        show(page, hostile, "/services")
        for number, (service_id, text) in enumerate(HOSTILE.items()):
            open_view(page, f"#/services/{quote(service_id)}")
            wait_for_script(
                page, "name => document.querySelector('h1').textContent === name", text
            )
            verbs = ["Undrain" if number % 3 == 0 else "Drain", "Unregister"]
            for verb in verbs:
                page.locator(".actions").get_by_role("button", name=verb).click()
                [title] = exact(page, "dialog h2")
                assert title == f"{verb} {text}?"
                page.keyboard.press("Escape")
                expect(page.locator("dialog")).to_have_count(0)
        untouched(page)


def test_what_was_done_is_told_in_text(chromium: Browser) -> None:
    with running_registry() as registry, watched(chromium, registry) as page:
        text = TEXTS[12]
        registry.register("one", name=text)
        show(page, registry, "/services/one")
        page.get_by_role("button", name="Drain").click()
        page.get_by_label("Reason").fill(text)
        page.get_by_role("dialog").get_by_role("button", name="Drain").click()
        expect(page.locator(".toast p")).to_have_text(f"{text} is draining.")
        expect(page.locator(".reason-box p")).to_have_text(text)


def test_capabilities_say_why_in_text(
    chromium: Browser, hostile: RegistryProcess
) -> None:
    with watched(chromium, hostile) as page:
        show(page, hostile, "/capabilities")
        expect(page.locator(".sizer .row")).not_to_have_count(0)
        chips = exact(page, ".sizer .chip")
        assert chips and set(chips) <= set(HOSTILE)
        open_view(page, "#/capabilities/greet")
        expect(page.locator(".providers li")).to_have_count(len(HOSTILE))
        links = exact(page, ".providers a")
        assert sorted(links) == sorted(f"{key}{text}" for key, text in HOSTILE.items())
        reasons = " ".join(exact(page, ".providers p"))
        for number, text in enumerate(HOSTILE.values()):
            assert number % 3 == 2 or text[:200] in reasons
        for name in NAMES:
            open_view(page, f"#/capabilities/{name}")
            expect(page.locator("h1")).to_have_text(name)
            expect(page.locator(".providers li")).to_have_count(1)


def test_the_graph_and_the_registry_show_text(
    chromium: Browser, hostile: RegistryProcess
) -> None:
    with watched(chromium, hostile) as page:
        show(page, hostile, "/graph")
        expect(page.locator(".node").first).to_be_visible()
        titles = exact(page, ".node title")
        for service_id, text in HOSTILE.items():
            if any(f"({service_id})" in title for title in titles):
                assert any(title.startswith(f"{text} (") for title in titles), text
        page.locator("summary").click()
        cells = exact(page, ".plain td:first-child")
        assert set(HOSTILE.values()) <= set(cells), cells[:3]
        open_view(page, "#/registry")
        expect(page.locator(".bars").last).to_be_visible()
        runtimes = exact(page, ".bars li > span:first-child")
        assert set(runtimes) & set(HOSTILE.values())


def test_trying_calls_out_shows_text(
    chromium: Browser, hostile: RegistryProcess
) -> None:
    with watched(chromium, hostile) as page:
        page.goto(f"{hostile.url}/docs")
        block = page.locator("[id$=-list_services].opblock")
        block.locator(".opblock-summary-control").click()
        block.get_by_role("button", name="Try it out").click()
        block.get_by_role("button", name="Execute").click()
        answer = block.locator(".live-responses-table .highlight-code pre")
        answer.first.wait_for()
        body = answer.first.evaluate("each => each.textContent")
        names = [service["name"] for service in json.loads(body)["services"]]
        assert sorted(names) == sorted(HOSTILE.values())


@pytest.mark.parametrize(
    "path",
    ["/api/services/{}", "/api/capabilities/{}", "/api/services?{}=1", "/{}"],
)
def test_an_error_opened_as_a_document_is_text(
    chromium: Browser, hostile: RegistryProcess, path: str
) -> None:
    with watched(chromium, hostile, (NO_ANSWER,)) as page:
        for text in TEXTS[::4]:  # of every kind
            if text in NAMES:  # there is such a service
                continue
            reply = page.goto(hostile.url + path.format(quote(text, safe="")))
            assert reply is not None
            assert reply.status in (400, 404)
            kind: Any = reply.headers
            assert kind["content-type"] == "application/problem+json"
            assert kind["x-content-type-options"] == "nosniff"
            body = page.locator("pre").first.evaluate("each => each.textContent")
            assert json.loads(body)["code"]
            if path.startswith("/api/services/") and "/" not in text:
                assert repr(text)[1:-1] in json.loads(body)["detail"]
            assert page.locator("script, img, svg, iframe, b").count() == 0
            unharmed(page)


def test_whatever_ran_would_be_noticed(
    chromium: Browser, hostile: RegistryProcess
) -> None:
    refused = ("Loading the image", "Refused to load", "request elsewhere: ", NO_ANSWER)
    with open_page(chromium, hostile, refused) as page:
        page.add_init_script(WATCH)
        show(page, hostile, "/services")
        page.evaluate(
            "text => document.body.append(Object.assign("
            "document.createElement('img'), {src: text}))",
            f"{FAR}/x",
        )
        wait_for_script(page, "window.wounds.length > 0")
        page.evaluate("hurt(1)")
        assert page.evaluate("window.wounds.at(-1)") == ["ran", 1]
        with pytest.raises(AssertionError):
            untouched(page)
