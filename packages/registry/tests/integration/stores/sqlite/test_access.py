"""Who gets at an SQLite store's file, and who is refused with which words."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from filelock import FileLock

from integration.stores.sqlite.support import run
from modularity_registry.errors import BadSetting, StoreCorrupt, StoreUnavailable
from modularity_registry.stores.base import put
from modularity_registry.stores.sqlite import creation
from modularity_registry.stores.sqlite.store import SqliteStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "registry.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    with closing(SqliteStore(path)) as store:
        yield store


def test_an_earlier_version_that_does_not_share_keeps_the_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(creation, "LOCK_SECONDS", 0.1)
    SqliteStore(path).close()
    with FileLock(f"{path}.lock"), pytest.raises(StoreUnavailable) as caught:
        SqliteStore(path)
    assert f"another registry has locked the store file {path}" in caught.value.detail
    SqliteStore(path).close()


def test_two_names_of_one_file_are_one_store(store: SqliteStore, path: Path) -> None:
    link = path.with_name("link.db")
    link.symlink_to(path)
    revision = put(store, "services/a", b"1")
    with closing(SqliteStore(link)) as other:
        assert put(other, "services/a", b"2", expected=revision) == revision + 1
    assert not Path(f"{link}.lock").exists()


def test_a_failed_opening_keeps_no_lock(path: Path) -> None:
    path.write_text("not a database, as anyone can see\n" * 100)
    with pytest.raises(StoreCorrupt) as kept:
        SqliteStore(path)
    path.unlink()
    SqliteStore(path).close()
    assert kept.tb is not None  # and with it the store that failed


def test_a_lock_file_that_is_a_link_is_not_followed(path: Path) -> None:
    target = path.with_name("precious")
    target.write_text("precious")
    Path(f"{path}.lock").symlink_to(target)
    with pytest.raises(StoreUnavailable, match="can't lock"):
        SqliteStore(path)
    assert target.read_text() == "precious"


@pytest.mark.parametrize("name", [":memory:", ""])
def test_memory_is_not_a_file(name: str) -> None:
    with pytest.raises(BadSetting, match="use memory://"):
        SqliteStore(name)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="missing does not exist; create it"):
        SqliteStore(tmp_path / "missing" / "registry.db")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_no_store(path: Path) -> None:
    path.mkdir()
    with pytest.raises(StoreUnavailable, match="is a folder; name a file in it"):
        SqliteStore(path)


READ_ONLY_PROGRAM = """
import os, sys
import filelock
from modularity_registry.errors import StoreUnavailable
from modularity_registry.stores.sqlite.store import SqliteStore
if os.getuid() == 0:
    os.setuid(65534)
try:
    SqliteStore(sys.argv[1])
except StoreUnavailable as error:
    print(error.detail)
else:
    sys.exit("it opened")
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users can reach, unlike what ``tmp_path`` gives."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)
        os.chmod(name, 0o700)


@pytest.mark.parametrize("what", ["file", "folder", "both"])
def test_what_may_not_be_written_is_refused(open_folder: Path, what: str) -> None:
    path = open_folder / "registry.db"
    SqliteStore(path).close()
    Path(f"{path}.lock").chmod(0o666)
    path.chmod(0o666 if what == "folder" else 0o444)
    open_folder.chmod(0o777 if what == "file" else 0o555)
    output = run(READ_ONLY_PROGRAM, path)
    assert "the registry needs to" in output
    assert str(path) in output


UMASK_PROGRAM = """
import os, sys
os.umask(0)
from modularity_registry.stores.base import put
from modularity_registry.stores.sqlite.store import SqliteStore
store = SqliteStore(sys.argv[1])
put(store, "services/a", b"")
folder = os.path.dirname(sys.argv[1])
for name in sorted(os.listdir(folder)):
    print(name, oct(os.stat(os.path.join(folder, name)).st_mode & 0o777))
store.close()
"""


def test_all_files_are_for_their_owner_only(path: Path) -> None:
    for _ in range(2):
        assert run(UMASK_PROGRAM, path).splitlines() == [
            f"registry.db{end} 0o600"
            for end in ("", "-shm", "-wal", ".identity", ".lock")
        ]
