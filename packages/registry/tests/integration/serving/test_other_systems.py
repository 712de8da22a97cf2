"""One worker without what Windows lacks, which is taken away here: no real Windows."""

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import requests

from support.registry import eventually, registration
from support.serving import free_port

WITHOUT = """
import asyncio, builtins, os, signal, socket, sys
for name in ("resource", "fcntl", "uvloop", "pwd", "grp"):
    sys.modules[name] = None  # its import fails
for name in ("fork", "register_at_fork", "pread", "pwrite", "O_CLOEXEC", "O_NOCTTY",
             "O_NOFOLLOW", "O_NONBLOCK", "sched_getaffinity", "memfd_create"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGHUP", "SIGUSR1", "SIGUSR2", "SIGCHLD", "SIGALRM", "SIGQUIT",
             "pthread_sigmask", "sigtimedwait"):
    if hasattr(signal, name):
        delattr(signal, name)
del socket.SO_REUSEPORT
def refuse(*_):
    raise NotImplementedError
asyncio.SelectorEventLoop.add_signal_handler = refuse
from modularity_registry.cli.main import main
main()
"""


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(WITHOUT), *arguments]


def refusal(*arguments: str) -> str:
    result = subprocess.run(command(*arguments), capture_output=True, text=True)
    assert result.returncode == 1
    return result.stderr


@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_one_worker_serves_and_stops(tmp_path: Path, store: str) -> None:
    url = "memory://" if store == "memory" else f"sqlite:///{tmp_path}/registry.db"
    port = free_port()
    site = f"http://127.0.0.1:{port}"
    serve = command("serve", "--port", str(port), "--store", url)
    process = subprocess.Popen(serve, stderr=subprocess.PIPE, text=True)
    try:

        def is_ready() -> bool:
            assert process.poll() is None, process.stderr and process.stderr.read()
            try:
                return requests.get(f"{site}/ready", timeout=5).status_code == 200
            except requests.ConnectionError:
                return False

        eventually(is_ready, 30)
        body = registration("a", mode="standalone", location="here")
        reply = requests.post(f"{site}/api/register", json=body, timeout=5)
        assert reply.status_code == 201
        assert "displaced" not in reply.json()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.communicate()


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/registry.db"
    assert "needs fork" in refusal("serve", "--workers", "2", "--store", store)
    audit = refusal("serve", "--audit-file", str(tmp_path / "audit"))
    assert "needs flock" in audit
