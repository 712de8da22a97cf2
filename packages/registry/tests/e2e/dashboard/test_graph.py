"""The call graph can be read: at 40 services, at 500, and on a phone."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from e2e.dashboard import graph_systems
from e2e.dashboard.browser import RegistryProcess, browser, open_page, running_registry
from e2e.dashboard.graph_systems import System

DESKTOP: Any = {"viewport": {"width": 1280, "height": 800}}
PHONE: Any = {"viewport": {"width": 390, "height": 844}, "has_touch": True}
SYSTEMS = {
    "forty": graph_systems.forty,
    "five_hundred": graph_systems.five_hundred,
    "five_hundred_names": graph_systems.five_hundred_names,
}

# Where everything is on the screen, in pixels.
MEASURE = """() => {
  const picture = document.querySelector(".picture");
  const place = (element) => {
    const { left, top, right, bottom } = element.getBoundingClientRect();
    return [left, top, right, bottom];
  };
  const scale = picture.getScreenCTM().a;
  const all = (selector) => [...picture.querySelectorAll(selector)];
  const lines = all(".line .stroke").map((path) => {
    const matrix = path.getScreenCTM();
    const length = path.getTotalLength();
    const points = Array.from({ length: 60 }, (_, index) => {
      const { x, y } = path.getPointAtLength((length * index) / 59).matrixTransform(matrix);
      return [x, y];
    });
    return { ...path.closest(".line").dataset, points };
  });
  return {
    frame: place(document.querySelector(".stage")),
    boxes: Object.fromEntries(all(".node").map((node) => [node.dataset.key, place(node.querySelector(".front"))])),
    texts: all("text").map((text) => ({
      text: text.textContent,
      size: parseFloat(getComputedStyle(text).fontSize) * scale,
      place: place(text),
      box: place(text.closest(".node").querySelector(".front")),
    })),
    lines,
  };
}"""  # noqa: E501


class Made:
    """Made systems, each in a registry of its own that is started when it is needed."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._running: dict[str, tuple[RegistryProcess, System]] = {}

    def __call__(self, name: str) -> tuple[RegistryProcess, System]:
        if name not in self._running:
            registry = self._stack.enter_context(running_registry())
            system = SYSTEMS[name]()
            graph_systems.start(registry, system)
            self._running[name] = registry, system
        return self._running[name]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def made() -> Iterator[Made]:
    with ExitStack() as stack:
        yield Made(stack)


def show(page: Page, registry: RegistryProcess, query: str = "") -> None:
    page.goto(f"{registry.url}/#/graph{query}")
    page.locator(".node").first.wait_for()
    # It counts the unhealthy, and takes its place from the graph's frame.
    page.locator("#banner a").wait_for()


def inside(inner: list[float], outer: list[float], slack: float = 0.5) -> bool:
    return (
        inner[0] >= outer[0] - slack
        and inner[1] >= outer[1] - slack
        and inner[2] <= outer[2] + slack
        and inner[3] <= outer[3] + slack
    )


def overlap(one: list[float], other: list[float]) -> bool:
    apart = one[2] <= other[0] or other[2] <= one[0]
    return not (apart or one[3] <= other[1] or other[3] <= one[1])


def within(point: list[float], box: list[float], slack: float = 3.0) -> bool:
    return (
        box[0] + slack < point[0] < box[2] - slack
        and box[1] + slack < point[1] < box[3] - slack
    )


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("screen", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_every_box_is_inside_the_frame_and_can_be_read_at_first_sight(
    chromium: Browser, made: Made, name: str, screen: Any
) -> None:
    registry, _ = made(name)
    with open_page(chromium, registry, **screen) as page:
        show(page, registry)
        measured = page.evaluate(MEASURE)
    boxes = list(measured["boxes"].values())
    assert len(boxes) >= (30 if screen is DESKTOP else 12)
    assert [box for box in boxes if not inside(box, measured["frame"])] == []
    pairs = [(a, b) for i, a in enumerate(boxes) for b in boxes[:i]]
    assert [pair for pair in pairs if overlap(*pair)] == []
    assert len(measured["texts"]) >= 2 * len(boxes)
    assert [text for text in measured["texts"] if text["size"] < 11] == []
    assert [t for t in measured["texts"] if not inside(t["place"], t["box"])] == []


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("screen", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_no_line_crosses_a_box(
    chromium: Browser, made: Made, name: str, screen: Any
) -> None:
    registry, _ = made(name)
    with open_page(chromium, registry, **screen) as page:
        show(page, registry)
        measured = page.evaluate(MEASURE)
    assert measured["lines"]
    crossings = [
        (line["from"], line["to"], key)
        for line in measured["lines"]
        for key, box in measured["boxes"].items()
        if any(within(point, box) for point in line["points"])
    ]
    assert crossings == []
    frame = measured["frame"]
    points = [point for line in measured["lines"] for point in line["points"]]
    assert [point for point in points if not within(point, frame, 0)] == []


@pytest.mark.parametrize("name", ["forty", "five_hundred"])
def test_calls_between_two_groups_are_one_line(
    chromium: Browser, made: Made, name: str
) -> None:
    registry, system = made(name)
    with open_page(chromium, registry, **DESKTOP) as page:
        show(page, registry)
        measured = page.evaluate(MEASURE)
        services = f"{len(system.services)} services"
        expect(page.locator(".found")).to_contain_text(services)
        expect(page.locator(".found")).to_contain_text("150 connections")
    ends = [(line["from"], line["to"]) for line in measured["lines"]]
    drawn = {(a.removeprefix("name "), b.removeprefix("name ")) for a, b in ends}
    assert len(ends) == len(drawn) == 150
    assert drawn == system.pairs
    assert len(measured["boxes"]) == 40


def test_with_too_many_names_what_fails_is_shown_and_the_rest_is_a_click_away(
    chromium: Browser, made: Made
) -> None:
    registry, system = made("five_hundred_names")
    failing = {provider for _, provider, _, errors, _ in system.calls if errors}
    callers = {consumer for consumer, _, _, errors, _ in system.calls if errors}
    with open_page(chromium, registry, **DESKTOP) as page:
        show(page, registry)
        boxes = page.evaluate(MEASURE)["boxes"]
        drawn = {key.removeprefix("name ") for key in boxes}
        assert drawn >= {*failing, *callers, *system.unhealthy}
        more = page.locator(".more-boxes")
        expect(more).to_contain_text(f"{500 - len(boxes)} more")
        more.get_by_role("button", name="show all").click()
        expect(page.locator(".node")).to_have_count(300)
        expect(more).to_contain_text("200 more")
        # There is more than fits, but what one sees can be read.
        measured = page.evaluate(MEASURE)
        assert min(text["size"] for text in measured["texts"]) >= 11
        assert min(box[1] for box in measured["boxes"].values()) > measured["frame"][1]
        more.get_by_role("button", name="Show fewer").click()
        expect(page.locator(".node")).to_have_count(len(boxes))


def test_the_same_boxes_stay_while_calls_come_in(chromium: Browser, made: Made) -> None:
    registry, system = made("five_hundred_names")
    with open_page(chromium, registry, **DESKTOP) as page:
        show(page, registry)
        before = page.evaluate(MEASURE)["boxes"]
        left_out = [
            call[:2]
            for call in system.calls
            if not {f"name {call[0]}", f"name {call[1]}"} & set(before)
        ]
        page.evaluate("document.querySelector('.node').dataset.drawn = 'before'")
        # From now on this is by far the busiest pair.
        graph_systems.report(registry, [(*left_out[0], 1_000, 0, 5.0)])
        expect(page.locator("[data-drawn]")).to_have_count(0)
        assert page.evaluate(MEASURE)["boxes"] == before
