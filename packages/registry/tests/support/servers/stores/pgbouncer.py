"""Runs PgBouncer in front of a PostgreSQL server of the tests."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from support.servers.program import Program, find
from support.servers.stores.postgres import DATABASE, PASSWORD, USER, Postgres, as_user
from support.serving import HOST, free_port


@contextmanager
def pooled(postgres: Postgres, mode: str, **settings: object) -> Iterator[int]:
    """Give the port of a pool in this ``mode``; it ends with the block."""
    program = find(["pgbouncer", "/usr/sbin/pgbouncer"], None, "pgbouncer")
    # Not in the tests' own folder, which another user can't enter.
    folder, port = Path(tempfile.mkdtemp(prefix="pgbouncer-test-")), free_port()
    options = {
        "listen_addr": HOST,
        "listen_port": port,
        "unix_socket_dir": "",
        "auth_type": "any",
        "pool_mode": mode,
        **settings,
    }
    lines = [
        "[databases]",
        f"{DATABASE} = host={HOST} port={postgres.port} dbname={DATABASE}"
        f" user={USER} password='{PASSWORD}'",
        "[pgbouncer]",
        *(f"{name} = {value}" for name, value in options.items()),
    ]
    file = folder / "pgbouncer.ini"
    file.write_text("\n".join(lines))
    postgres.give(file, folder)
    pool = Program([*as_user(), program, file], folder / "log")
    try:
        pool.wait_until(lambda: _answers(port))
        yield port
    finally:
        pool.kill()
        shutil.rmtree(folder, ignore_errors=True)


def _answers(port: int) -> bool:
    try:
        psycopg.connect(
            host=HOST, port=port, dbname=DATABASE, user=USER, connect_timeout=5
        ).close()
    except psycopg.OperationalError:
        return False
    return True
