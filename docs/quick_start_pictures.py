"""Takes docs/images/quick-start-*.png of what docs/quick-start.md does.

uv run python docs/quick_start_pictures.py

It needs Chromium, and the ports that the page names to be free.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from modularity_client import Registry, RegistryError

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
REGISTRY = ROOT / "packages" / "registry" / "registry_service.py"
CLI = "from modularity_registry.cli.main import main; main()"
URL = "http://127.0.0.1:5000"
WIDTH = 1080
DEADLINE = 60.0
"""Seconds that anything may take."""


@contextmanager
def running(*command: str, **environ: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run Python until the end of the block."""
    process = subprocess.Popen(
        [sys.executable, *command],
        env=os.environ | {"REGISTRY_URL": URL} | environ,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(DEADLINE)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit("it did not happen in time; are the ports free?")
        time.sleep(0.1)


def has(registry: Registry, count: int, status: str) -> bool:
    try:
        return len(registry.services(status=status).services) == count
    except RegistryError:
        return False


def take(page: Page, view: str, name: str, height: int) -> None:
    page.set_viewport_size({"width": WIDTH, "height": height})
    page.goto(f"{URL}/#{view}")
    page.get_by_text("Live", exact=True).wait_for()
    page.wait_for_timeout(1_500)  # for what is drawn after that
    page.screenshot(path=IMAGES / f"quick-start-{name}.png")


def take_all(registry: Registry, page: Page, folder: Path) -> None:
    module = str(folder / "greeter.py")
    subprocess.run([sys.executable, "-c", CLI, "init", module], check=True)
    with running(module) as first:
        wait_until(lambda: has(registry, 1, "healthy"))
        take(page, "/services", "joined", 420)
        with running(module, MODULE_ID="greeter-2", PORT="9002"):
            wait_until(lambda: has(registry, 2, "healthy"))
            first.kill()
            wait_until(lambda: has(registry, 1, "unhealthy"))
            take(page, "/services/greeter", "killed", 500)
    registry.unregister("greeter")
    with running("-c", CLI, "demo"):
        wait_until(lambda: has(registry, 12, "healthy"))
        wait_until(lambda: has(registry, 1, "unhealthy"))
        take(page, "/graph", "demo", 640)


def main() -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("there is no chromium in the path; install it")
    with (
        tempfile.TemporaryDirectory() as folder,
        running(str(REGISTRY)),
        Registry(URL) as registry,
        sync_playwright() as playwright,
        playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox"]
        ) as browser,
    ):
        wait_until(lambda: has(registry, 0, "healthy"))
        page = browser.new_page(color_scheme="light")
        take_all(registry, page, Path(folder))


if __name__ == "__main__":
    main()
