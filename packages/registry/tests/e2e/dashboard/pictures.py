"""Takes the pictures of the dashboard for the documentation: ``just pictures``."""

import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page

from e2e.dashboard import graph_systems
from e2e.dashboard.browser import RegistryProcess, browser, open_page, running_registry

DESKTOP = {"width": 1280, "height": 800}
SCREENS: dict[str, dict[str, Any]] = {
    "light": {"viewport": DESKTOP, "color_scheme": "light"},
    "dark": {"viewport": DESKTOP, "color_scheme": "dark"},
    "phone": {
        "viewport": {"width": 390, "height": 844},
        "device_scale_factor": 2,
        "has_touch": True,
    },
}


def take(
    browser: Browser, registry: RegistryProcess, folder: Path, name: str, view: str
) -> None:
    """Take a picture of a view at first sight, on every screen."""
    for screen, options in SCREENS.items():
        with open_page(browser, registry, reduced_motion="reduce", **options) as page:
            show(page, registry, view)
            page.screenshot(path=folder / f"{name}-{screen}.png")


def take_panel(browser: Browser, registry: RegistryProcess, path: Path) -> None:
    """Take a picture of an open group and the panel about it."""
    options: dict[str, Any] = {"reduced_motion": "reduce", **SCREENS["light"]}
    with open_page(browser, registry, **options) as page:
        show(page, registry, "graph")
        page.locator('.node[data-key="name catalogue"]').click()
        page.get_by_role("button", name="Show instances in the graph").click()
        page.locator(".group").wait_for()
        page.mouse.move(5, 5)
        page.screenshot(path=path)


def show(page: Page, registry: RegistryProcess, view: str) -> None:
    page.goto(f"{registry.url}/#/{view}")
    page.locator(".node, .sizer .row").first.wait_for()
    page.get_by_text("Live", exact=True).wait_for()


def main() -> None:
    folder = Path(sys.argv[1])
    with browser() as started:
        with running_registry() as registry:
            graph_systems.start(registry, graph_systems.forty())
            take(started, registry, folder, "graph-40", "graph")
            registry.put("/api/services/search/drain", {"reason": "upgrade to 2.1"})
            take(started, registry, folder, "dashboard", "services")
        with running_registry() as registry:
            graph_systems.start(registry, graph_systems.five_hundred())
            take(started, registry, folder, "graph-500", "graph")
            take_panel(started, registry, folder / "graph-panel.png")


if __name__ == "__main__":
    main()
