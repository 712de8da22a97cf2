"""Warnings about files that others may read or write."""

from pathlib import Path

import pytest

from modularity_registry.config import Settings
from modularity_registry.serve import _private_files
from modularity_registry.serving.file_warnings import warnings


@pytest.mark.parametrize(
    ("mode", "access"),
    [
        (0o600, None),
        (0o660, None),
        (0o644, "read"),
        (0o602, "change"),
        (0o666, "read and change"),
    ],
)
def test_a_file_that_everybody_may_open_is_named(
    tmp_path: Path, mode: int, access: str | None
) -> None:
    file = tmp_path / "the tokens"
    file.touch()
    file.chmod(mode)
    expected = (
        f"all users of this machine may {access} the tokens file {file}; run chmod"
        f" o-rw '{file}'"
    )
    assert warnings({"tokens file": file}) == ([expected] if access else [])


def test_the_other_files_of_a_database_are_named_too(tmp_path: Path) -> None:
    for name in ("r.db", "r.db-wal"):
        (tmp_path / name).touch(0o644)
        (tmp_path / name).chmod(0o644)
    [warning] = warnings({"store file": tmp_path / "r.db"})
    assert warning.endswith(f"o-rw {tmp_path}/r.db {tmp_path}/r.db-wal")


def test_a_file_that_is_not_there_is_left_out(tmp_path: Path) -> None:
    assert warnings({"TLS key": tmp_path / "missing"}) == []


def test_a_start_looks_at_all_files_that_the_settings_name() -> None:
    assert _private_files(Settings()) == {}
    settings = Settings(
        store="sqlite:///r.db", tokens_file="t", audit_file="a", tls_key="k"
    )
    assert {str(path) for path in _private_files(settings).values()} == {
        *("r.db", "t", "a", "k")
    }
