"""Hosts of a network of their own: Linux network namespaces, joined by cables."""

import ctypes
import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import pytest

from support import PROGRAMS

ResultT = TypeVar("ResultT")

CLONE_NEWNET: Final = 0x40000000
NOBODY: Final = "02:00:00:00:00:99"
"""A hardware address that no interface has: what is sent there is lost."""

_numbers = itertools.count()


def ip(*arguments: str) -> None:
    """Run ``ip``; fail with what it says."""
    result = subprocess.run(("ip", *arguments), capture_output=True, text=True)
    assert result.returncode == 0, f"ip {' '.join(arguments)}: {result.stderr}"


class Host(NamedTuple):
    """A host by its name; what it sends by way of ``nowhere`` is lost."""

    name: str
    namespace: str
    address: str
    nowhere: str

    def command(self, *command: str) -> list[str]:
        """Return the command that runs another one on this host."""
        named = ("sh", "-c", 'hostname "$0" && exec "$@"', self.name, *command)
        return ["ip", "netns", "exec", self.namespace, "unshare", "--uts", *named]

    def start_registry(self, settings: Mapping[str, Any]) -> "subprocess.Popen[bytes]":
        """Return the process of a registry on this host."""
        program = str(PROGRAMS / "registry.py")
        command = self.command(sys.executable, program, json.dumps(settings))
        return subprocess.Popen(command, stderr=subprocess.DEVNULL)


class Network:
    """A host in the middle, where services are, and a cable to each of the others.

    ``close`` takes all of it down.
    """

    def __init__(self) -> None:
        """Skips the test where namespaces can't be made."""
        if shutil.which("ip") is None:
            pytest.skip("ip is not installed; Debian has it in the package iproute2")
        self._name = f"mr{os.getpid()}-{next(_numbers)}"
        self._stack = ExitStack()
        self._hosts = 0
        self._core = f"{self._name}-core"
        made = subprocess.run(
            ("ip", "netns", "add", self._core), capture_output=True, text=True
        )
        if made.returncode:
            pytest.skip("only root can make network namespaces, and only where it may")
        self._stack.callback(ip, "netns", "delete", self._core)
        ip("-n", self._core, "link", "set", "lo", "up")
        self._thread = ThreadPoolExecutor(1, initializer=self._enter)
        self._stack.callback(self._thread.shutdown)

    def close(self) -> None:
        """End all hosts. What runs there has ended by then."""
        self._stack.close()

    def add_address(self, address: str) -> None:
        """Give the host in the middle another address."""
        ip("-n", self._core, "address", "add", f"{address}/32", "dev", "lo")

    def add_host(self, name: str) -> "Host":
        """Return a new host, which reaches the one in the middle."""
        self._hosts += 1
        net = f"10.213.{100 + self._hosts}"
        host = Host(name, f"{self._name}-{name}", f"{net}.2", f"{net}.99")
        ip("netns", "add", host.namespace)
        self._stack.callback(ip, "netns", "delete", host.namespace)
        port = f"to-{name}"
        cable = ("type", "veth", "peer", "name", "eth0", "netns", host.namespace)
        ip("link", "add", port, "netns", self._core, *cable)
        for namespace, device, address in (
            (self._core, port, f"{net}.1/24"),
            (host.namespace, "eth0", f"{host.address}/24"),
        ):
            ip("-n", namespace, "address", "add", address, "dev", device)
            ip("-n", namespace, "link", "set", device, "up")
        ip("-n", host.namespace, "link", "set", "lo", "up")
        ip("-n", host.namespace, "route", "add", "default", "via", f"{net}.1")
        nobody = ("lladdr", NOBODY, "dev", "eth0", "nud", "permanent")
        ip("-n", host.namespace, "neighbor", "add", host.nowhere, *nobody)
        return host

    def cut_off(self, host: "Host", network: str) -> None:
        """Lose all that a host sends to a network, without a word to it."""
        ip("-n", host.namespace, "route", "add", network, "via", host.nowhere)

    def reconnect(self, host: "Host", network: str) -> None:
        """End a `cut_off`."""
        ip("-n", host.namespace, "route", "delete", network)

    def run(self, function: Callable[[], ResultT]) -> ResultT:
        """Return what ``function`` returns on the host in the middle."""
        return self._thread.submit(function).result()

    def _enter(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        with Path(f"/run/netns/{self._core}").open() as namespace:
            assert libc.setns(namespace.fileno(), CLONE_NEWNET) == 0, ctypes.get_errno()
