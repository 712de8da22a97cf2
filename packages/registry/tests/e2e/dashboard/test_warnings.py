"""The dashboard shows a warning in its own colour and word, and counts it."""

import requests
from playwright.sync_api import expect

from e2e.dashboard.browser import browser, open_page, running_registry


def test_a_warning_is_shown_and_counted_apart_from_what_fails() -> None:
    with running_registry() as registry, browser() as chromium:
        for service_id, status in (("a", "healthy"), ("b", "warning")):
            registry.register(service_id, mode="standalone", location="here")
            said = {"status": status, "note": "queue is long"}
            url = f"{registry.url}/api/heartbeat/{service_id}"
            requests.post(url, json=said, timeout=10).raise_for_status()
        with open_page(chromium, registry) as page:
            page.goto(f"{registry.url}/#/services")
            banner = page.locator("#banner")
            expect(banner).to_have_text("1 service of 2 has a warning")
            expect(banner).to_have_attribute("data-status", "warning")
            expect(page.locator('.tile[data-status="warning"] b')).to_have_text("1")
            row = page.locator('.row[data-status="warning"]')
            expect(row).to_contain_text("queue is long")
            banner.locator("a").click()
            expect(page.locator(".found")).to_have_text("1 of 2")
            page.goto(f"{registry.url}/#/services/b")
            box = page.locator('.reason-box[data-status="warning"]')
            expect(box).to_contain_text("queue is long")
            bad = {"status": "unhealthy", "note": "stuck"}
            url = f"{registry.url}/api/heartbeat/a"
            requests.post(url, json=bad, timeout=10).raise_for_status()
            expect(banner).to_contain_text("1 service of 2 is unhealthy")
            expect(banner).to_contain_text("; 1 has a warning")
            expect(banner).to_have_attribute("data-status", "unhealthy")
