"""Takes the pictures of the call graph for the documentation.

From the repository's root: ``PYTHONPATH=packages/registry/tests uv run python -m
e2e.dashboard.graph_pictures docs/images``. Debian's ``pngquant --ext .png --force``
makes them small.
"""

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


def take(browser: Browser, registry: RegistryProcess, folder: Path, name: str) -> None:
    """Take a picture on every screen, of the graph at first sight."""
    for screen, options in SCREENS.items():
        with open_page(browser, registry, reduced_motion="reduce", **options) as page:
            show(page, registry)
            page.screenshot(path=folder / f"{name}-{screen}.png")


def take_panel(browser: Browser, registry: RegistryProcess, path: Path) -> None:
    """Take a picture of an open group and the panel about it."""
    options: dict[str, Any] = {"reduced_motion": "reduce", **SCREENS["light"]}
    with open_page(browser, registry, **options) as page:
        show(page, registry)
        page.locator('.node[data-key="name catalogue"]').click()
        page.get_by_role("button", name="Show instances in the graph").click()
        page.locator(".group").wait_for()
        page.mouse.move(5, 5)
        page.screenshot(path=path)


def show(page: Page, registry: RegistryProcess) -> None:
    page.goto(f"{registry.url}/#/graph")
    page.locator(".node").first.wait_for()
    page.get_by_text("Live", exact=True).wait_for()


def main() -> None:
    folder = Path(sys.argv[1])
    with browser() as started:
        with running_registry() as registry:
            graph_systems.start(registry, graph_systems.forty())
            take(started, registry, folder, "graph-40")
        with running_registry() as registry:
            graph_systems.start(registry, graph_systems.five_hundred())
            take(started, registry, folder, "graph-500")
            take_panel(started, registry, folder / "graph-panel.png")


if __name__ == "__main__":
    main()
