"""What the dashboard is made of, and how it is sent."""

import re
from posixpath import dirname, join, normpath

import pytest
from flask.testing import FlaskClient

from modularity_registry.api.dashboard import routes

ASSETS = routes.load()
SCRIPTS = sorted(name for name in ASSETS if name.endswith(".js"))
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "connect-src": "'self'",
    "img-src": "'self'",
    "frame-ancestors": "'none'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "require-trusted-types-for": "'script'",
    "trusted-types": "'none'",
}


def text(name: str) -> str:
    return ASSETS[name].data.decode()


@pytest.mark.parametrize("path", ["/", *(f"/assets/{name}" for name in ASSETS)])
def test_everything_is_sent_under_the_policy(client: FlaskClient, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 200
    sent = response.headers["Content-Security-Policy"].split("; ")
    assert dict(directive.split(" ", 1) for directive in sent) == POLICY
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert response.headers["Cache-Control"] == "no-cache"
    tag = response.headers["ETag"]
    again = client.get(path, headers={"If-None-Match": tag})
    assert (again.status_code, again.data) == (304, b"")
    assert again.headers["ETag"] == tag


def test_types_are_those_that_browsers_ask_for(client: FlaskClient) -> None:
    assert client.get("/").content_type == "text/html; charset=utf-8"
    assert (
        client.get("/assets/main.js").content_type == "text/javascript; charset=utf-8"
    )
    assert (
        client.get("/assets/styles/base.css").content_type == "text/css; charset=utf-8"
    )
    assert client.get("/assets/icon.svg").content_type == "image/svg+xml"


@pytest.mark.parametrize(
    "name",
    (
        *("nothing.js", "..%2froutes.py", "../routes.py", "%00", "main.js/"),
        *("lib", "lib/", "lib/nothing.js", "lib/../main.js", "lib%2f..%2fmain.js"),
    ),
)
def test_nothing_else_is_sent(client: FlaskClient, name: str) -> None:
    response = client.get(f"/assets/{name}")
    assert response.status_code == 404
    assert response.content_type == "application/problem+json"


def test_the_page_can_only_be_read(client: FlaskClient) -> None:
    assert client.post("/").status_code == 405
    assert client.delete("/assets/main.js").status_code == 405


def test_every_file_is_one_that_is_sent() -> None:
    paths = [path for path in routes.STATIC.rglob("*") if path.is_file()]
    names = {path.relative_to(routes.STATIC).as_posix() for path in paths}
    assert names == set(ASSETS)


def test_the_page_has_no_script_and_no_style_within() -> None:
    page = text("index.html")
    assert "style=" not in page
    assert not re.search(r"<style|\son\w+=", page)
    assert not re.search(r"<script(?![^>]* src=)", page)
    for name in re.findall(r'(?:src|href)="assets/([^"]+)"', page):
        assert name in ASSETS


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_script_reads_text_as_html(name: str) -> None:
    unsafe = r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|new Function"
    assert not re.search(unsafe, text(name))
    assert not re.search(r"""setAttribute\(\s*["']style""", text(name))
    for other in re.findall(r'from "([^"]+)"', text(name)):
        assert normpath(join(dirname(name), other)) in ASSETS


@pytest.mark.parametrize("name", sorted(ASSETS))
def test_nothing_comes_from_elsewhere(name: str) -> None:
    urls = set(re.findall(r"""(?:https?:)?//[\w.]+[^\s"']*""", text(name)))
    addresses = {url for url in urls if url.startswith("http")}
    assert addresses <= {"http://www.w3.org/2000/svg"}
