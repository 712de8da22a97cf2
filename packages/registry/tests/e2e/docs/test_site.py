"""The documentation's site: built strictly, complete, and usable without a network."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from playwright.sync_api import Browser, expect

import modularity_client
from e2e.dashboard.browser import browser, open_page
from e2e.docs.blocks import table
from e2e.docs.reader import ROOT
from modularity_registry import config
from modularity_registry.cli.main import COMMANDS

BUILD_SECONDS = 120
NOT_COPIED = shutil.ignore_patterns(
    ".*", "__pycache__", "*.egg-info", "htmlcov", "results", "tests"
)
PHONE = {"width": 390, "height": 844}


@dataclass
class Site:
    """A built site, and its address on the disk."""

    folder: Path
    url: str

    def pages(self) -> list[Path]:
        """All pages, but for the one that a server sends with a 404."""
        return sorted({*self.folder.rglob("*.html")} - {self.folder / "404.html"})

    def searched(self, page: str) -> str:
        """What the search knows of a page."""
        index = json.loads((self.folder / "search.json").read_text())
        return " ".join(
            f"{item['title']} {item['text']}"
            for item in index["items"]
            if item["location"].partition("#")[0] == page
        )


def build(root: Path, output: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, root / "docs" / "site" / "build.py", "--output", output],
        capture_output=True,
        text=True,
        check=False,
        timeout=BUILD_SECONDS,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("site") / "site"
    done = build(ROOT, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return Site(folder, folder.as_uri())


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


class Links(HTMLParser):
    """A page's links, what it loads, and the names that can be linked to."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.names: set[str] = set()
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.names |= {attributes.get("id", ""), attributes.get("name", "")}
        if tag == "a" and "href" in attributes:
            self.links.append(attributes["href"])
        elif tag != "a":
            self.loaded += (attributes.get(key, "") for key in ("src", "href"))


def test_all_links_lead_somewhere(site: Site) -> None:
    pages = {page: Links(page) for page in site.pages()}
    for page, links in pages.items():
        for link in links.links + links.loaded:
            parts = urlsplit(link)
            if parts.scheme:
                continue
            to = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            assert to.is_file(), f"{page} links to {link}"
            if parts.fragment and to in pages and link in links.links:
                assert unquote(parts.fragment) in pages[to].names, f"{page}: {link}"


def test_pages_load_nothing_from_elsewhere(site: Site) -> None:
    for page in site.pages():
        for loaded in Links(page).loaded:
            assert not urlsplit(loaded).netloc, f"{page.name} loads {loaded}"
    for style in site.folder.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\W*(https?:)?//", style.read_text())


def test_the_reference_has_every_setting(site: Site) -> None:
    text = site.searched("reference/settings.html")
    names = [name for each in config.OPTIONS for name in (each.flag, each.env)]
    assert [name for name in names if f">{name}<" not in text] == []


def test_the_reference_has_every_metric(site: Site) -> None:
    text = site.searched("reference/metrics.html")
    rows = table((ROOT / "docs" / "operating.md").read_text(), "metric")
    names = [row[0].strip("`") for row in rows]
    assert len(names) > 40
    assert [name for name in names if f">{name}<" not in text] == []


def test_the_reference_has_every_error_and_call(site: Site) -> None:
    api = (ROOT / "docs" / "api.md").read_text()
    text = site.searched("reference/errors.html")
    codes = [row[0].strip("`") for row in table(api, "code")]
    assert [code for code in codes if f">{code}<" not in text] == []
    text = site.searched("reference/http-api.html").replace("{service_id}", "{id}")
    calls = [row[0].strip("`") for row in table(api, "call")]
    assert [call for call in calls if f">{call}<" not in text] == []


def test_the_reference_has_every_command(site: Site) -> None:
    text = site.searched("reference/commands.html")
    assert [
        name for name in COMMANDS if f"modularity-registry {name} " not in text
    ] == []
    assert "modularity-registry token rotate" in text


def test_the_reference_has_the_whole_client(site: Site) -> None:
    text = site.searched("reference/client.html")
    methods = [
        f"{kind.__name__}.{name}"
        for kind in (modularity_client.Registry, modularity_client.Resolver)
        for name in vars(kind)
        if not name.startswith("_")
    ]
    names = [*modularity_client.__all__, *methods]
    assert [name for name in names if name not in text] == []


@pytest.mark.parametrize(
    ("page", "line", "complaint"),
    [
        ("docs/api.md", "[gone](gone.md)", "links to gone.md, which does not exist"),
        ("docs/api.md", "[gone](health.md#gone)", "anchor does not exist"),
        ("docs/new.md", "# A page that no list has", "docs/new.md is not in"),
    ],
)
def test_a_mistake_is_not_built(
    page: str, line: str, complaint: str, tmp_path: Path
) -> None:
    copy = tmp_path / "repository"
    shutil.copytree(ROOT, copy, ignore=NOT_COPIED)
    with (copy / page).open("a") as file:
        file.write(f"\n{line}\n")
    done = build(copy, tmp_path / "site")
    assert done.returncode != 0
    assert complaint in done.stdout + done.stderr
    assert not (tmp_path / "site").exists()


@pytest.mark.parametrize("page", ["index.html", "docs/api.html"])
def test_the_search_works_from_the_disk(
    page: str, site: Site, chromium: Browser
) -> None:
    with open_page(chromium, site) as tab:
        tab.goto(f"{site.url}/{page}")
        tab.locator(".md-search__button").click()
        tab.get_by_role("combobox").fill("rendezvous")
        tab.get_by_text("How they share the work").click()
        expect(tab.locator("h1")).to_contain_text("Replicas and workers")
        assert tab.url.startswith(f"{site.url}/docs/replicas.html")


def test_pages_fit_on_a_phone(site: Site, chromium: Browser) -> None:
    reference = (site.folder / "reference").glob("*.html")
    with open_page(chromium, site, viewport=PHONE) as tab:
        for page in (site.folder / "index.html", *reference):
            tab.goto(page.as_uri())
            wider = "document.documentElement.scrollWidth > innerWidth"
            assert not tab.evaluate(wider), f"{page.name} is wider than a phone"


@pytest.mark.parametrize(("scheme", "shown"), [("light", "light"), ("dark", "dark")])
def test_colours_and_pictures_follow_the_system(
    scheme: str, shown: str, site: Site, chromium: Browser
) -> None:
    with open_page(chromium, site, color_scheme=scheme) as tab:
        tab.goto(f"{site.url}/index.html")
        pictures = tab.locator("article img")
        visible = [each for each in pictures.all() if each.is_visible()]
        assert len(visible) == 1
        assert f"dashboard-{shown}.png" in (visible[0].get_attribute("src") or "")
