"""Runs tests against a mutant, in a fork of this process: no file is touched."""

import importlib.machinery
import importlib.util
import os
import signal
import sys
import time
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import CodeType, ModuleType

import hypothesis
import pytest

_OPTIONS = (
    "-x",
    "-q",
    "-p",
    "no:cacheprovider",
    "-o",
    "addopts=--import-mode=importlib",
)


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, name: str, path: str, source: str) -> None:
        super().__init__(name, path)
        self._source = source

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self._source, self.path)


class _Finder(MetaPathFinder):
    """Finds the mutant where a module is looked for."""

    def __init__(self, module: str, path: Path, source: str) -> None:
        self._module, self._path, self._source = module, str(path), source

    def find_spec(
        self, name: str, path: object, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != self._module:
            return None
        loader = _Loader(name, self._path, self._source)
        return importlib.util.spec_from_file_location(name, self._path, loader=loader)


def passes(
    module: str, path: Path, source: str, tests: Sequence[str], seconds: float
) -> bool:
    """Say whether all ``tests`` pass while ``module`` has this ``source``.

    They have so many ``seconds``: a mutant may wait or go round for ever.
    """
    pid = os.fork()
    if pid == 0:
        try:
            sys.meta_path.insert(0, _Finder(module, path, source))
            os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
            # The same examples for each mutant, and no fault of theirs that it is slow.
            hypothesis.settings.register_profile(
                "mutants",
                derandomize=True,
                database=None,
                max_examples=30,
                suppress_health_check=list(hypothesis.HealthCheck),
            )
            hypothesis.settings.load_profile("mutants")
            nothing = os.open(os.devnull, os.O_RDWR)
            for stream in range(3):
                os.dup2(nothing, stream)
            os._exit(pytest.main([*_OPTIONS, *tests]))
        finally:
            os._exit(pytest.ExitCode.INTERNAL_ERROR)
    deadline = time.monotonic() + seconds
    while (ended := os.waitpid(pid, os.WNOHANG))[0] == 0:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return False
        time.sleep(0.01)
    return os.waitstatus_to_exitcode(ended[1]) == pytest.ExitCode.OK
