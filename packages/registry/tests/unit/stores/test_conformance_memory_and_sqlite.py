"""The store contract on the stores that need no server, and URLs that name a store."""

import itertools
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from modularity_registry.errors import BadSetting
from modularity_registry.stores import check_store_url, open_store
from modularity_registry.stores.base import Store, put
from modularity_registry.stores.conformance.contract import (
    OpenStore,
    SharedStoreContract,
    StoreContract,
)
from modularity_registry.stores.memory import MemoryStore
from modularity_registry.stores.sqlite.store import SqliteStore
from support.shared_memory_store import Handle


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def open_new(self) -> OpenStore:
        return MemoryStore


class TestSqliteStore(SharedStoreContract):
    @pytest.fixture
    def open_new(self, tmp_path: Path) -> OpenStore:
        numbers = itertools.count()
        return lambda: SqliteStore(tmp_path / f"new-{next(numbers)}.db")

    @pytest.fixture
    def open_same(self, tmp_path: Path) -> OpenStore:
        return lambda: SqliteStore(tmp_path / "same.db")


class TestHandlesOfOneStore(SharedStoreContract):
    @pytest.fixture
    def open_new(self) -> OpenStore:
        return lambda: Handle(MemoryStore())

    @pytest.fixture
    def open_same(self) -> OpenStore:
        store = MemoryStore()
        return lambda: Handle(store)


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def opened(url: str) -> Store:
    check_store_url(url)
    store = open_store(url)
    put(store, "services/a", b"")
    store.close()
    return store


def test_memory_is_kept_nowhere(workplace: Path) -> None:
    assert isinstance(opened("memory://"), MemoryStore)
    assert list(workplace.iterdir()) == []


def test_three_slashes_begin_at_the_working_folder(workplace: Path) -> None:
    (workplace / "data").mkdir()
    assert isinstance(opened("sqlite:///data/registry.db"), SqliteStore)
    assert (workplace / "data" / "registry.db").is_file()


def test_four_slashes_begin_at_the_root(workplace: Path) -> None:
    opened(f"sqlite:///{workplace}/registry.db")
    assert (workplace / "registry.db").is_file()


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("a%20b%25c.db", "a b%c.db"),
        ("a b.db", "a b.db"),
        ("%C3%BC%3F%23.db", "ü?#.db"),
        ("file:x?mode=memory".replace("?", "%3F"), "file:x?mode=memory"),
        ("..%2Fup.db", "../up.db"),
    ],
)
def test_percent_codes_are_read(workplace: Path, written: str, name: str) -> None:
    opened(f"sqlite:///{written}")
    assert (workplace / name).is_file()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "has no scheme"),
        ("registry.db", "has no scheme"),
        ("/var/lib/registry.db", "has no scheme"),
        ("mysql://host/db", "mysql:// is not a kind of store"),
        ("memory:", "two slashes"),
        ("memory://x", "accepts nothing after it"),
        ("memory:///x", "accepts nothing after it"),
        ("memory://?a=b", "accepts nothing after it"),
        ("sqlite:registry.db", "two slashes"),
        ("sqlite:/registry.db", "two slashes"),
        ("sqlite://", "needs the path of a file"),
        ("sqlite:///", "needs the path of a file"),
        ("sqlite://registry.db", "accepts no host"),
        ("sqlite:///:memory:", "use memory:// instead"),
        ("sqlite:///folder/", "not of a folder"),
        ("sqlite:///a.db?timeout=3", "accepts no options"),
        ("sqlite:///a.db#x", "accepts no options"),
        ("sqlite:///a%00.db", "%00"),
        ("sqlite:///a%ff.db", "not UTF-8"),
        ("sqlite:///a\n.db", "line breaks"),
        ("sqlite://[/a.db", "can't be read"),
    ],
)
@pytest.mark.parametrize("check", [check_store_url, open_store])
def test_other_urls_are_bad_settings(
    workplace: Path, check: Callable[[str], object], url: str, says: str
) -> None:
    with pytest.raises(BadSetting) as caught:
        check(url)
    assert says in caught.value.detail
    form = "memory://" if url.startswith("memory:") else "sqlite:///relative/path"
    assert form in caught.value.detail
    assert list(workplace.iterdir()) == []


def test_no_message_repeats_a_password() -> None:
    with pytest.raises(BadSetting) as caught:
        check_store_url("mysql://user:hunter2@host/db")
    assert "hunter2" not in caught.value.detail


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "modularity_registry.stores.sqlite.store", None)
    with pytest.raises(BadSetting, match="needs the package modularity_registry"):
        open_store("sqlite:///registry.db")
