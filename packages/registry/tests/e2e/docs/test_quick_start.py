"""The quick start, done as docs/quick-start.md has it."""

import re
import time
from pathlib import Path

import requests

from e2e.docs.blocks import blocks
from e2e.docs.matching import settled
from e2e.docs.reader import HELLO_PORT, HOST, REGISTRY_PORT, ROOT, Reader, reading
from support.cli import Terminal
from support.registry import eventually

PAGE = ROOT / "docs" / "quick-start.md"
MOST_PICTURE_BYTES = 150_000


def url(reader: Reader) -> str:
    return f"http://{HOST}:{reader.port(REGISTRY_PORT)}"


def status(reader: Reader) -> str:
    reply = requests.get(f"{url(reader)}/api/services/greeter", timeout=10)
    return str(reply.json()["status"])


def lines(text: str) -> list[str]:
    """The lines of a text without what differs from run to run."""
    return [line.strip() for line in settled(text).splitlines() if line.strip()]


def as_written(reader: Reader, text: str) -> str:
    for written in (REGISTRY_PORT, HELLO_PORT, HELLO_PORT + 1):
        text = text.replace(f":{reader.port(written)}", f":{written}")
    return text


def test_the_quick_start_goes_as_it_is_written(tmp_path: Path) -> None:
    page = PAGE.read_text()
    module, call = (b.text for b in blocks(page) if b.language == "python")
    before, heading, after = page.partition("## Kill the first one")
    (tmp_path / "packages").symlink_to(ROOT / "packages")
    (tmp_path / "call.py").write_text(call)
    with reading(tmp_path, tmp_path, {}) as reader:
        reader.follow(before, PAGE.name)
        assert (tmp_path / "greeter.py").read_text() == module
        assert len(re.findall(r"^.+$", module, re.MULTILINE)) == 10

        watch = Terminal("watch", "--url", url(reader), columns=160)
        try:
            watch.shows("live", "2 healthy")
            reader.kill(HELLO_PORT)
            killed = time.monotonic()
            eventually(lambda: status(reader) == "unhealthy")
            # Ten by the page, and half as many again for a busy machine.
            assert time.monotonic() - killed < 15
            [shown] = [b.text for b in blocks(after) if "LATEST EVENTS" in b.text]
            watch.shows("1 unhealthy", "healthy -> unhealthy")
            drawn = lines(as_written(reader, watch.frame()))
            # A terminal cuts what is too long for it.
            pairs = zip(lines(shown), drawn, strict=True)
            assert [a for a, b in pairs if not a.startswith(b.rstrip("…"))] == []
        finally:
            watch.close()
        reader.follow(heading + after, PAGE.name)
        assert status(reader) == "healthy"


def test_its_pictures_are_small() -> None:
    names = re.findall(r"\((images/[^)]+)\)", PAGE.read_text())
    assert len(names) == 3
    for name in names:
        assert (PAGE.parent / name).stat().st_size <= MOST_PICTURE_BYTES
