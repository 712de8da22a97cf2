"""The dashboard shows which upstreams can be asked, and why not."""

from playwright.sync_api import expect

from e2e.dashboard.browser import browser, open_page, running_registry
from support.serving import HOST, free_port


def test_the_registry_view_shows_upstreams() -> None:
    dead = f"http://{HOST}:{free_port()}"
    with browser() as chromium, running_registry() as west:
        named = [f"west={west.url}", f"east={dead}"]
        with (
            running_registry(upstream=named) as here,
            open_page(chromium, here) as page,
        ):
            page.goto(f"{here.url}/#/registry")
            table = page.get_by_role("table", name="Upstreams")
            first = table.get_by_role("row").filter(has_text="west")
            second = table.get_by_role("row").filter(has_text="east")
            expect(first).to_contain_text(west.url)
            expect(first).to_contain_text("connected")
            expect(second).to_contain_text("unreachable")
        with open_page(chromium, west) as page:
            page.goto(f"{west.url}/#/registry")
            expect(page.get_by_role("heading", name="Replicas")).to_be_visible()
            expect(page.get_by_role("heading", name="Upstreams")).to_have_count(0)
