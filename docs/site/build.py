"""Builds the documentation's site: the pages of this repository, and a reference.

uv run python docs/site/build.py --output site
"""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import navigation
from linked_files import BrokenLink, copy_linked_files
from reference import PAGES

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
ICON = "packages/registry/src/modularity_registry/api/dashboard/static/icon.svg"
NO_NAVIGATION = "nav = []"
"""The line in `zensical.toml` that the navigation takes the place of."""


def build(output: Path) -> int:
    """Build the site in ``output``, which is replaced; return the exit code.

    A link that leads nowhere, or a page that the index does not list, is an error.
    """
    with TemporaryDirectory(prefix="modularity-site-") as folder:
        _prepare(Path(folder))
        # `--strict` makes an error of every warning.
        command = [sys.executable, "-m", "zensical", "build", "--strict"]
        done = subprocess.run(command, cwd=folder, check=False)
        if done.returncode == 0:
            shutil.rmtree(output, ignore_errors=True)
            shutil.copytree(Path(folder, "site"), output)
    return done.returncode


def _prepare(folder: Path) -> None:
    """Write what Zensical reads: the pages, laid out as in the repository."""
    pages = folder / "pages"
    documents = [str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md")]
    copy_linked_files(ROOT, [navigation.HOME, *documents], pages)
    shutil.copytree(HERE / "assets", pages / "assets")
    shutil.copy(ROOT / ICON, pages / "assets" / "icon.svg")
    (pages / "reference").mkdir()
    for name, page in PAGES.items():
        (pages / "reference" / f"{name}.md").write_text(page())
    nav = navigation.read(ROOT, [f"reference/{name}.md" for name in PAGES])
    navigation.check(nav, documents)
    settings = (HERE / "zensical.toml").read_text()
    assert NO_NAVIGATION in settings
    (folder / "zensical.toml").write_text(
        settings.replace(NO_NAVIGATION, f"nav = {_toml(nav)}")
    )


def _toml(value: Any) -> str:
    """Return lists, tables and texts as TOML, which Python reads but does not write."""
    if isinstance(value, dict):
        items = (f"{_toml(key)} = {_toml(item)}" for key, item in value.items())
        return f"{{{', '.join(items)}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, default=ROOT / "site", metavar="FOLDER")
    try:
        return build(parser.parse_args(arguments).output)
    except (BrokenLink, navigation.NotListed) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
