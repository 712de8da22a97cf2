"""Using the call graph: filters, groups, the panel, keys and live updates."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from e2e.dashboard import graph_systems
from e2e.dashboard.browser import (
    RegistryProcess,
    browser,
    open_page,
    running_registry,
)

PHONE: Any = {"viewport": {"width": 390, "height": 844}, "has_touch": True}
GRAY = "rgb(139, 148, 165)"
TEN = "\N{MULTIPLICATION SIGN}10"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def shop() -> Iterator[RegistryProcess]:
    """A web shop that calls nine of its ten workers and a ledger that errs."""
    with running_registry() as started:
        started.register("web-1", name="Web", capabilities=["pages"])
        started.register("ledger-1", name="Ledger", capabilities=["money/book"])
        started.register("quiet-1", name="Quiet", capabilities=["nothing/much"])
        workers = [f"worker-{number}" for number in range(1, 11)]
        for worker in workers:
            started.register(worker, name="Worker", capabilities=["pack", worker])
        graph_systems.report(
            started,
            [
                *(("web-1", worker, 120, 0, 20.0) for worker in workers[:9]),
                ("worker-1", "ledger-1", 40, 2, 8.0),
                ("worker-2", "ledger-1", 60, 2, 18.0),
                ("somebody", "web-1", 3, 0, 1.0),
            ],
        )
        yield started


def show(page: Page, registry: RegistryProcess, query: str = "") -> None:
    page.goto(f"{registry.url}/#/graph{query}")
    page.locator(".node").first.wait_for()


def node(page: Page, key: str) -> Locator:
    return page.locator(f'.node[data-key="{key}"]')


def line(page: Page, caller: str, provider: str) -> Locator:
    return page.locator(f'.line[data-from="{caller}"][data-to="{provider}"]')


def drawn(page: Page) -> set[str]:
    return set(page.locator(".node .name").all_text_contents())


def test_calls_are_drawn_as_they_are_reported(chromium: Browser) -> None:
    with running_registry() as registry, open_page(chromium, registry) as page:
        for name in ("front", "middle", "back"):
            registry.register(name, name=name.capitalize())
        page.goto(f"{registry.url}/#/graph")
        expect(page.get_by_text("No calls reported yet")).to_be_visible()
        registry.invoked("front", "middle", latency_ms=12)
        registry.invoked("middle", "back", success=False)
        registry.invoked("back", "front")  # a circle
        registry.invoked("back", "back")  # and one of its own
        expect(page.locator(".line")).to_have_count(4, timeout=10_000)
        assert drawn(page) == {"Front", "Middle", "Back"}
        expect(page.locator('.line[data-level="poor"]')).to_have_count(1)
        title = line(page, "name Front", "name Middle").locator("title")
        expect(title).to_have_text("Front calls Middle: 0.02/s, 100% successful")


def test_width_is_calls_a_second_and_colour_is_for_what_fails(
    chromium: Browser, shop: RegistryProcess
) -> None:
    with open_page(chromium, shop, color_scheme="light") as page:
        show(page, shop)
        strokes = page.locator(".line .stroke")
        expect(strokes).to_have_count(3)
        style = "each => ((s) => [s.stroke, s.strokeDasharray])(getComputedStyle(each))"
        busy = line(page, "name Web", "name Worker").locator(".stroke")
        idle = line(page, "id somebody", "name Web").locator(".stroke")
        erring = line(page, "name Worker", "name Ledger").locator(".stroke")
        widths = [
            float(each.get_attribute("stroke-width") or 0) for each in (busy, idle)
        ]
        assert widths[0] > 1.5 * widths[1]
        assert busy.evaluate(style) == idle.evaluate(style) == [GRAY, "none"]
        colour, dashes = erring.evaluate(style)
        assert colour == "rgb(176, 106, 0)"
        assert dashes != "none"
        # The provider says so too: in words, with a sign, in the same colour.
        expect(node(page, "name Ledger")).to_contain_text("96% OK")
        expect(node(page, "name Ledger").locator(".sign")).to_have_count(1)
        expect(node(page, "name Worker").locator(".sign")).to_have_count(0)


@pytest.mark.parametrize("text", ["Ledger", "ledger-1", "money/", "MONEY led"])
def test_a_filter_leaves_what_matches_and_its_neighbours(
    chromium: Browser, shop: RegistryProcess, text: str
) -> None:
    with open_page(chromium, shop) as page:
        show(page, shop)
        assert drawn(page) == {"Web", "Worker", "Ledger", "somebody"}
        page.keyboard.press("/")
        # At once: what is typed until then leaves other nodes, maybe also two.
        page.keyboard.insert_text(text)
        expect(page.locator(".node")).to_have_count(2)
        assert drawn(page) == {"Worker", "Ledger"}
        page.reload()
        expect(page.locator(".node")).to_have_count(2)
        expect(page.get_by_label("Filter the graph")).to_have_value(text)
        page.keyboard.press("Escape")
        expect(page.locator(".node")).to_have_count(4)


def test_a_filter_finds_services_without_calls_and_says_when_nothing_matches(
    chromium: Browser, shop: RegistryProcess
) -> None:
    with open_page(chromium, shop) as page:
        show(page, shop)
        expect(page.locator(".found")).to_contain_text("1 without calls")
        page.get_by_label("Filter the graph").fill("nothing/much")
        expect(page.locator(".node")).to_have_count(1)
        expect(node(page, "name Quiet")).to_contain_text("no calls")
        page.get_by_label("Filter the graph").fill("no such service")
        expect(page.get_by_text("No service matches")).to_be_visible()
        page.get_by_role("button", name="Show all", exact=True).click()
        expect(page.locator(".node")).to_have_count(4)


def test_failing_only_is_kept_on_reload(
    chromium: Browser, shop: RegistryProcess
) -> None:
    with open_page(chromium, shop) as page:
        show(page, shop)
        page.get_by_label("Failing only").check()
        expect(page.locator(".line")).to_have_count(1)
        assert drawn(page) == {"Worker", "Ledger"}
        page.reload()
        expect(page.get_by_label("Failing only")).to_be_checked()
        expect(page.locator(".line")).to_have_count(1)
        page.get_by_label("Failing only").uncheck()
        expect(page.locator(".node")).to_have_count(4)


def test_services_are_grouped_by_name_by_capability_or_not_at_all(
    chromium: Browser, shop: RegistryProcess
) -> None:
    with open_page(chromium, shop) as page:
        show(page, shop)
        expect(node(page, "name Worker").locator(".badge")).to_have_text(TEN)
        page.get_by_label("Group by").select_option("capability")
        expect(node(page, "capability pack").locator(".badge")).to_have_text(TEN)
        assert drawn(page) == {"pages", "pack", "money/book", "somebody"}
        page.reload()
        expect(page.get_by_label("Group by")).to_have_value("capability")
        expect(node(page, "capability pack")).to_be_visible()
        page.get_by_label("Group by").select_option("none")
        # Nine workers are called; a name that several have gives way to the id.
        expect(page.locator(".node")).to_have_count(12)
        assert drawn(page) > {"Web", "Ledger", "worker-1", "worker-9"}


def test_a_group_opens_in_place_and_closes_again(
    chromium: Browser, shop: RegistryProcess
) -> None:
    with open_page(chromium, shop) as page:
        show(page, shop)
        node(page, "name Worker").click()
        page.get_by_role("button", name="Show instances in the graph").click()
        # Seven of the ten, and one box for the rest.
        group = page.locator(".group")
        expect(group).to_contain_text(f"Worker {TEN}")
        expect(node(page, "rest of name Worker")).to_contain_text("3 more")
        expect(page.locator('.node[data-group="name Worker"]')).to_have_count(8)
        expect(line(page, "id worker-1", "name Ledger")).to_have_count(1)
        page.reload()
        expect(page.locator('.node[data-group="name Worker"]')).to_have_count(8)
        outer = group.locator("rect").bounding_box()
        assert outer is not None
        for each in page.locator('.node[data-group="name Worker"] .front').all():
            inner = each.bounding_box()
            assert inner is not None
            assert outer["x"] < inner["x"] and outer["y"] < inner["y"]
            assert inner["y"] + inner["height"] < outer["y"] + outer["height"]
        group.locator(".name").click()
        page.get_by_role("button", name="Group its instances again").click()
        expect(node(page, "name Worker")).to_be_visible()
        expect(page.locator(".group")).to_have_count(0)


def test_the_panel_tells_all_of_a_group(
    chromium: Browser, shop: RegistryProcess
) -> None:
    shop.put("/api/services/worker-3/drain", {"reason": "repair"})
    with open_page(chromium, shop) as page:
        show(page, shop)
        expect(node(page, "name Worker")).to_contain_text("1 draining")
        node(page, "name Worker").click()
        panel = page.get_by_role("region", name="Worker", exact=True)
        expect(panel.get_by_role("heading", name="Worker")).to_be_focused()
        expect(panel).to_contain_text("10 instances · 1 draining")
        traffic = panel.get_by_role("table", name="Traffic").locator("tbody tr")
        expect(traffic.nth(0)).to_contain_text(re.compile("Incoming.*100%.*0.*20 ms"))
        expect(traffic.nth(1)).to_contain_text(re.compile("Outgoing.*96%.*4.*14 ms"))
        expect(panel.locator(".instances li")).to_have_count(10)
        expect(panel.locator(".instances li").first).to_have_text("worker-3draining")
        callers = panel.get_by_role("table", name="Called by").locator("tbody tr")
        expect(callers).to_have_count(1)
        expect(callers).to_contain_text("Web")
        panel.get_by_role("link", name="worker-10").click()
        expect(page).to_have_url(f"{shop.url}/#/services/worker-10")
        page.go_back()
        expect(node(page, "name Worker")).to_be_visible()
    shop.delete("/api/services/worker-3/drain")


def test_the_panel_tells_all_of_a_connection(
    chromium: Browser, shop: RegistryProcess
) -> None:
    with open_page(chromium, shop) as page:
        show(page, shop)
        # A click at the middle of the line's box would miss a curve.
        line(page, "name Worker", "name Ledger").dispatch_event("click")
        panel = page.get_by_role("region", name="Worker → Ledger")
        facts = panel.locator(".facts")
        for name, value in (
            *(("Calls", "100"), ("Success", "96%"), ("Errors", "4")),
            *(("Average latency", "14 ms"), ("Caller", "Worker")),
        ):
            row = facts.locator("> div", has=page.get_by_text(name, exact=True))
            expect(row.locator("dd")).to_have_text(value)
        expect(panel.get_by_role("table", name="By capability")).to_contain_text(
            "ledger"
        )
        panel.get_by_role("button", name="Ledger", exact=True).click()
        panel = page.get_by_role("region", name="Ledger", exact=True)
        expect(panel).to_be_visible()
        # From a service one comes to its connections: no line needs a pointer.
        panel.get_by_role("button", name="Worker").press("Enter")
        expect(page.get_by_role("region", name="Worker → Ledger")).to_be_visible()


def test_keys_are_enough_for_the_graph(
    chromium: Browser, shop: RegistryProcess
) -> None:
    with open_page(chromium, shop) as page:
        show(page, shop)
        picture = page.locator(".picture")
        picture.focus()
        before = picture.get_attribute("viewBox")
        page.keyboard.press("+")
        page.keyboard.press("ArrowRight")
        assert picture.get_attribute("viewBox") != before
        seen = set()
        for _ in range(4):
            page.keyboard.press("Tab")
            seen.add(page.evaluate("document.activeElement.dataset.key"))
        assert seen == {"name Web", "name Worker", "name Ledger", "id somebody"}
        node(page, "name Ledger").focus()
        # Its neighbours stay, the others are dimmed.
        expect(node(page, "name Worker")).to_have_class(re.compile("near"))
        expect(node(page, "name Web")).not_to_have_class(re.compile("near"))
        for key in ("Enter", "Space"):
            page.keyboard.press(key)
            expect(page.locator(".panel")).to_be_visible()
            page.keyboard.press("Escape")
            expect(page.locator(".panel")).to_be_hidden()
            expect(node(page, "name Ledger")).to_be_focused()


def test_on_a_phone_the_panel_is_a_sheet_at_the_bottom(
    chromium: Browser, shop: RegistryProcess
) -> None:
    with open_page(chromium, shop, **PHONE) as page:
        show(page, shop)
        node(page, "name Ledger").tap()
        panel = page.locator(".panel").bounding_box()
        assert panel is not None
        assert (panel["x"], panel["width"]) == (0, 390)
        assert panel["y"] + panel["height"] == 844
        assert panel["y"] > 844 * 0.4
        # What was tapped stays in sight.
        box = node(page, "name Ledger").locator(".front").bounding_box()
        assert box is not None
        assert box["y"] + box["height"] < panel["y"]
        page.get_by_role("button", name="Close").tap()
        expect(page.locator(".panel")).to_be_hidden()


def test_an_open_panel_follows_the_calls(
    chromium: Browser, shop: RegistryProcess
) -> None:
    with open_page(chromium, shop) as page:
        show(page, shop)
        node(page, "id somebody").click()
        panel = page.locator(".panel")
        panel.get_by_role("button", name="Web").click()
        calls = panel.locator(".facts > div", has_text=re.compile("^Calls\\d"))
        expect(calls).to_have_text("Calls3")
        panel.get_by_role("button", name="Web").focus()
        shop.invoked("somebody", "web-1", capability="web")
        expect(calls).to_have_text("Calls4")
        # The focus is where it was.
        expect(panel.get_by_role("button", name="Web")).to_be_focused()
