"""Programs that begin at once: forks of a process that has imported the registry.

A registry takes seconds of a core to import, and the tests start hundreds.
"""

import multiprocessing
import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import wait
from typing import Any

_CONTEXT = multiprocessing.get_context("forkserver")
# What is installed alone: the process that forks has Python's own path.
_CONTEXT.set_forkserver_preload(["modularity_registry.serve"])


class Forked:
    """A function in a process of its own, which is used like a `subprocess.Popen`.

    The function must be one that a module has by name. Its process leads a session of
    its own, and says nothing, but for its errors if there is a file for them.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        errors: str = os.devnull,
    ) -> None:
        given = (errors, function, *arguments)
        self._process = _CONTEXT.Process(target=_quietly, args=given)
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs."""
        return self._process.exitcode

    def wait(self, seconds: float | None = None) -> int:
        """Return the exit code. Raises `subprocess.TimeoutExpired`."""
        wait([self._process.sentinel], seconds)
        code = self._process.exitcode
        if code is None:
            raise subprocess.TimeoutExpired("a forked program", seconds or 0.0)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end, unless it has."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, unless it has ended."""
        self.send_signal(signal.SIGKILL)


def _quietly(errors: str, function: Callable[..., Any], *arguments: Any) -> None:
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    said = os.open(errors, os.O_WRONLY | os.O_APPEND)
    for stream, to in enumerate((nothing, nothing, said)):
        os.dup2(to, stream)
    function(*arguments)
