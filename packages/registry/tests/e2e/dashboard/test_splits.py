"""The dashboard shows how the calls of a capability are split, as it changes."""

import requests
from playwright.sync_api import expect

from e2e.dashboard.browser import browser, open_page, running_registry


def test_a_capability_shows_its_split_and_who_is_in_which_group() -> None:
    with running_registry() as registry, browser() as chromium:
        registry.register("one", version="1.0", capabilities=["x/y"])
        registry.register("two", version="2.0", capabilities=["x/y"])
        url = f"{registry.url}/api/capabilities/x/y/split"
        with open_page(chromium, registry) as page:
            page.goto(f"{registry.url}/#/capabilities/x%2Fy")
            main = page.locator("main")
            expect(main).to_contain_text("2 of 2 providers available")
            expect(main).not_to_contain_text("split")
            assert requests.put(url, json={"v1": 3, "v2": 1}, timeout=5).ok
            expect(main).to_contain_text("Calls are split: v1 75 %, v2 25 %")
            card = page.get_by_role("listitem").filter(has_text="one")
            expect(card).to_contain_text("group v1")
            assert requests.put(url, json={"v2": 1}, timeout=5).ok
            expect(main).to_contain_text("1 of 2 providers available")
            expect(card).to_contain_text("it is in no group of the split")
            assert requests.delete(url, timeout=5).ok
            expect(main).not_to_contain_text("split")
