"""The dashboard in a real browser: live updates and actions."""

import re
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from e2e.dashboard.browser import (
    NO_ANSWER,
    RegistryProcess,
    browser,
    healthy_service,
    open_page,
    running_registry,
    texts,
)
from support.registry import eventually

NASTY = '"><img src=x onerror="window.hurt=1"><script>window.hurt=2</script>'


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


@pytest.fixture
def registry() -> Iterator[RegistryProcess]:
    quick = {"health_check_interval": 1.0, "health_check_fall": 1}
    with running_registry(**quick) as started:
        yield started


def show(page: Page, registry: RegistryProcess, view: str = "/services") -> None:
    page.goto(f"{registry.url}/#{view}")
    expect(page.locator("#live")).to_have_text("Live")


def row(page: Page, service_id: str) -> str:
    return f'.sizer .row[data-key="{service_id}"]'


def test_a_registration_appears_within_a_second(
    chromium: Browser, registry: RegistryProcess
) -> None:
    with open_page(chromium, registry) as page:
        show(page, registry)
        expect(page.get_by_text("No service is registered yet")).to_be_visible()
        registry.register("newcomer", name="Newcomer")
        begun = time.monotonic()
        page.locator(row(page, "newcomer")).wait_for()
        assert time.monotonic() - begun < 1
        assert texts(page, ".tile b") == ["1", "1", "0", "0", "0"]
        assert texts(page, ".found") == ["1 of 1"]
        registry.register("newcomer", name="Renamed")
        expect(page.locator(row(page, "newcomer"))).to_contain_text("Renamed")
        registry.delete("/api/services/newcomer")
        expect(page.locator(row(page, "newcomer"))).to_have_count(0)


def test_a_service_that_dies_turns_red_and_its_page_says_why(
    chromium: Browser, registry: RegistryProcess
) -> None:
    with open_page(chromium, registry) as page, healthy_service() as service:
        location = f"http://127.0.0.1:{service.server_address[1]}"
        registry.register("mortal", mode="http", location=location)
        show(page, registry)
        status = page.locator(f"{row(page, 'mortal')} .status")
        expect(status).to_have_text("healthy")
        service.shutdown()
        service.server_close()
        expect(status).to_have_text("unhealthy", timeout=15_000)
        expect(status).to_have_css("color", "rgb(194, 37, 37)")
        reason = page.locator(f"{row(page, 'mortal')} .at-reason")
        # A check that had just connected is reset.
        words = "(connection refused|the connection was reset); 1 check failed"
        expect(reason).to_have_text(re.compile(words))
        banner = page.locator("#banner")
        expect(banner).to_contain_text("1 service of 1 is unhealthy, the first since")
        banner.get_by_role("link").click()
        expect(page.locator(".found")).to_have_text("1 of 1")
        assert page.url.endswith("#/services?status=unhealthy")
        page.locator(row(page, "mortal")).click()
        box = page.locator(".reason-box")
        expect(box).to_contain_text("Health checks are failing")
        expect(box).to_contain_text(re.compile(words))
        expect(page.locator(".facts").first).to_contain_text(
            "Nothing is listening on this port"
        )
        expect(page.locator(".changes .status")).to_have_text(["unhealthy", "healthy"])
        strip = page.locator(".hour > svg")
        expect(strip).to_have_attribute("aria-label", re.compile("unhealthy for"))
        # The evidence moves while the page is open.
        failures = page.locator(".facts > div", has_text="Failures in a row")
        before = failures.inner_text()
        eventually(lambda: failures.inner_text() != before)


def test_the_page_of_a_service_shows_its_own_checks(
    chromium: Browser, registry: RegistryProcess
) -> None:
    with open_page(chromium, registry) as page, healthy_service() as service:
        location = f"http://127.0.0.1:{service.server_address[1]}"
        checks = [
            {"name": "db", "kind": "http", "path": "/db", "headers": {"X-Key": "s3cr"}},
            {"name": "cache", "kind": "tcp", "port": 1, "critical": False},
            {"name": "jobs", "kind": "ttl", "ttl": 3600},
        ]
        registry.register("many", mode="http", location=location, checks=checks)
        show(page, registry, "/services/many")
        rows = page.get_by_role("region", name="Checks").locator("tbody tr")
        expect(rows).to_have_count(3)
        expect(rows.nth(0)).to_contain_text("HTTP 204")
        expect(rows.nth(1)).to_contain_text("tcp, only warns")
        expect(rows.nth(1).locator(".status")).to_have_text("warning")
        expect(rows.nth(2)).to_contain_text("never")
        assert "s3cr" not in page.content()
        registry.register("many", mode="http", location=location)
        expect(rows).to_have_count(0)


def test_replicas_that_disagree_are_shown(
    chromium: Browser, registry: RegistryProcess
) -> None:
    message = "unreachable from replica a, reachable from b"
    opinion = {"state": "held", "message": message, "opinions": []}

    def disagree(route: Route) -> None:
        response = route.fetch()
        reply = response.json()
        if "providers" in reply:
            reply["providers"][0]["second_opinion"] = message
        else:
            reply["evidence"]["second_opinion"] = opinion
            reply["evidence"]["checks"][0]["second_opinion"] = opinion
        route.fulfill(response=response, json=reply)

    with open_page(chromium, registry) as page, healthy_service() as service:
        location = f"http://127.0.0.1:{service.server_address[1]}"
        checks = [{"name": "db", "kind": "http", "path": "/db"}]
        registry.register("torn", mode="http", location=location, checks=checks)
        for pattern in ("**/api/services/torn", "**/explain?*"):
            page.route(pattern, disagree)
        show(page, registry, "/services/torn")
        facts = page.locator(".facts > div", has_text="Other replicas")
        expect(facts).to_contain_text(message)
        rows = page.get_by_role("region", name="Checks").locator("tbody tr")
        expect(rows).to_contain_text(message)
        show(page, registry, "/capabilities/greet")
        expect(page.locator(".card", has_text="torn")).to_contain_text(
            f"Replicas disagree: {message}."
        )


def test_drain_put_back_and_unregister_ask_first(
    chromium: Browser, registry: RegistryProcess
) -> None:
    registry.register("worker", name="Worker")
    with open_page(chromium, registry) as page:
        show(page, registry, "/services/worker")
        page.get_by_role("button", name="Drain").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_role("button", name="Cancel").click()
        expect(dialog).to_have_count(0)
        service = registry.service("worker")
        assert service is not None and service["status"] == "healthy"
        page.get_by_role("button", name="Drain").click()
        dialog.get_by_label("Reason").fill("new disks")
        dialog.get_by_role("button", name="Drain").click()
        expect(page.locator(".named .status")).to_have_text("draining")
        expect(page.locator(".reason-box")).to_contain_text("new disks")
        page.get_by_role("button", name="Undrain").click()
        dialog.get_by_role("button", name="Undrain").click()
        expect(page.locator(".named .status")).to_have_text("healthy")
        page.get_by_role("button", name="Unregister").click()
        dialog.get_by_role("button", name="Unregister").click()
        expect(page.locator(".toast").last).to_contain_text("Worker is unregistered")
        expect(page).to_have_url(f"{registry.url}/#/services")
        expect(page.locator(row(page, "worker"))).to_have_count(0)
        assert registry.service("worker") is None


def test_a_refusal_is_told_in_plain_words(
    chromium: Browser, registry: RegistryProcess
) -> None:
    registry.register("guarded")

    def refuse(route: Route) -> None:
        if route.request.headers.get("authorization") == "Bearer let-me-in":
            route.continue_()
        else:
            route.fulfill(status=401, body='{"detail": "no token was sent"}')

    with open_page(chromium, registry, expected=(NO_ANSWER,)) as page:
        page.route("**/drain", refuse)
        show(page, registry, "/services/guarded")
        page.get_by_role("button", name="Drain").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_role("button", name="Drain").click()
        message = "You need an access token. Enter it with the key button"
        expect(dialog.get_by_role("alert")).to_contain_text(message)
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Access token").click()
        dialog.get_by_label("Token").fill("let-me-in")
        dialog.get_by_label("Keep it when this tab is reloaded").uncheck()
        dialog.get_by_label("Token").focus()
        with page.expect_request("**/api/events") as stream:
            page.keyboard.press("Enter")
        assert stream.value.headers["authorization"] == "Bearer let-me-in"
        page.get_by_role("button", name="Drain").click()
        dialog.get_by_role("button", name="Drain").click()
        expect(page.locator(".named .status")).to_have_text("draining")
        assert (
            page.evaluate("Object.values({...localStorage, ...sessionStorage})") == []
        )


def test_without_a_registry_an_action_leaves_its_dialog_open(
    chromium: Browser, registry: RegistryProcess
) -> None:
    registry.register("lonely")
    with open_page(chromium, registry, expected=(NO_ANSWER,)) as page:
        show(page, registry, "/services/lonely")
        page.route("**/drain", lambda route: route.abort())
        page.get_by_role("button", name="Drain").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_role("button", name="Drain").click()
        expect(dialog.get_by_role("alert")).to_contain_text(
            "may or may not have been made"
        )


def test_stored_text_is_only_ever_text(
    chromium: Browser, registry: RegistryProcess
) -> None:
    registry.register(
        "nasty",
        name=NASTY,
        location=NASTY,
        version="<b>1</b>",
        metadata={NASTY: NASTY, "runtime": NASTY, "deep": {"of": [NASTY]}},
    )
    registry.put("/api/services/nasty/drain", {"reason": NASTY})
    registry.invoked("somebody", "nasty")
    with open_page(chromium, registry) as page:
        lists = ("/services", "/graph", "/registry")
        for view in (*lists, "/services/nasty", "/capabilities/greet"):
            show(page, registry, view)
            place = page.locator("#main").get_by_text("onerror", exact=False).first
            place.wait_for(state="attached")
            assert page.locator("#main :is(img, script)").count() == 0
        assert page.evaluate("window.hurt") is None


def test_the_list_is_right_again_after_the_registry_came_back(
    chromium: Browser, registry: RegistryProcess
) -> None:
    registry.register("before")
    with open_page(chromium, registry, expected=(NO_ANSWER,)) as page:
        show(page, registry)
        page.locator(row(page, "before")).wait_for()
        registry.stop()
        expect(page.locator("#live")).to_have_text("Disconnected")
        expect(page.locator("#banner")).to_contain_text("may be out of date")
        expect(page.locator(row(page, "before"))).to_be_visible()
        # In memory: after a restart it has a history of its own.
        registry.__init__(port=registry.port)  # type: ignore[misc]
        registry.register("after")
        expect(page.locator("#live")).to_have_text("Live", timeout=30_000)
        page.locator(row(page, "after")).wait_for()
        expect(page.locator(row(page, "before"))).to_have_count(0)
        expect(page.locator("#banner")).to_be_hidden()
        registry.register("later")
        page.locator(row(page, "later")).wait_for()


def test_a_capability_says_who_is_given_to_callers(
    chromium: Browser, registry: RegistryProcess
) -> None:
    registry.register("one", name="One", capabilities=["math/add", "greet"])
    registry.register("two", name="Two", capabilities=["math/add"])
    with open_page(chromium, registry) as page:
        show(page, registry, "/capabilities")
        page.locator(row(page, "math/add")).click()
        expect(page.get_by_text("2 of 2 providers available")).to_be_visible()
        registry.put("/api/services/two/drain", {"reason": "repair"})
        expect(page.get_by_text("1 of 2 providers available")).to_be_visible()
        first = page.locator(".providers li").first
        expect(first).to_contain_text("Not available: it is draining: repair.")
        first.get_by_role("link").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Two")


def test_trouble_of_the_registry_is_told_on_every_view(
    chromium: Browser, registry: RegistryProcess
) -> None:
    health = """{"status": "degraded", "service": "modularity-registry",
        "store": "redis", "version": "1", "revision": 7, "replica": "a",
        "stale_seconds": 90, "reasons": ["the store does not answer"],
        "replicas": [{"id": "a", "state": "alive", "seen": 0.4, "host": "h1",
            "version": "1", "started_at": "2026-11-24T03:53:54.854479Z", "self": true},
            {"id": "b", "state": "lost", "seen": 61.0, "host": "h2", "version": "1",
            "started_at": "2026-11-24T03:53:54.854479Z", "self": false}]}"""
    with open_page(chromium, registry) as page:
        page.route("**/health", lambda route: route.fulfill(body=health))
        show(page, registry, "/registry")
        banner = page.locator("#banner")
        expect(banner).to_contain_text("has been stale for 1 min")
        expect(banner).to_contain_text("degraded: the store does not answer")
        expect(page.locator(".plain tbody tr")).to_have_count(2)
        expect(page.locator(".plain tbody")).to_contain_text("lost")
