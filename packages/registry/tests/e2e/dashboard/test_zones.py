"""The dashboard shows where a service is, and finds it by that."""

from playwright.sync_api import expect

from e2e.dashboard.browser import browser, open_page, running_registry


def test_a_service_is_found_by_its_zone_and_shows_it() -> None:
    with running_registry() as registry, browser() as chromium:
        for zone in ("eu-1a", "eu-1b"):
            registry.register(f"in-{zone[-1]}", zone=zone, region="europe", priority=10)
        with open_page(chromium, registry) as page:
            page.goto(f"{registry.url}/#/services")
            expect(page.locator(".found")).to_have_text("2 of 2")
            page.locator("input[type=search]").fill("EU-1b")
            expect(page.locator(".found")).to_have_text("1 of 2")
            page.locator("input[type=search]").fill("europe")
            expect(page.locator(".found")).to_have_text("2 of 2")
            page.goto(f"{registry.url}/#/services/in-b")
            facts = page.locator("main")
            expect(facts).to_contain_text("eu-1b")
            expect(facts).to_contain_text("europe")
            expect(facts).to_contain_text("10: lower numbers get the calls first")
