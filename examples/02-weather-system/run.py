"""Starts the registry and the whole weather system; ``run.py --stop`` stops it.

Ctrl-C stops it too. Ports: ``--port`` for the registry, ``--page`` for the page.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from modularity_client import Registry, RegistryError, RegistryUnreachable

HERE = Path(__file__).parent
REGISTRY = HERE.parents[1] / "packages" / "registry" / "registry_service.py"
SERVICES = {
    "location-service": ("location_service.py", {}),
    "weather-1": ("weather_service.py", {"WEATHER_ID": "weather-1"}),
    "weather-2": ("weather_service.py", {"WEATHER_ID": "weather-2"}),
    "dashboard": ("dashboard.py", {}),
}
START_TIMEOUT = 60.0
"""Seconds that the system may take to start."""

stopping = threading.Event()


def pid_file(port: int) -> Path:
    return Path(tempfile.gettempdir()) / f"weather-system-{port}.pid"


def start(port: int, page: int) -> int:
    url = f"http://127.0.0.1:{port}"
    environ = {**os.environ, "REGISTRY_URL": url}
    processes = [_spawn([str(REGISTRY), "--port", str(port)], environ)]
    try:
        with Registry(url) as registry:
            _until(lambda: _ready(registry), processes)
            for name, (script, extra) in SERVICES.items():
                port_setting = {"PORT": str(page)} if name == "dashboard" else {}
                process = _spawn([str(HERE / script)], environ | extra | port_setting)
                processes.append(process)
                print(f"{name} is process {process.pid}", flush=True)
            _until(lambda: _all_healthy(registry), processes)
            location = registry.service("dashboard").location
        print(f"the registry is at {url}, the page at {location}", flush=True)
        print("press Ctrl-C to stop", flush=True)
        while not stopping.wait(1.0):
            pass
    finally:
        _end(processes)
    return 0


def _spawn(command: list[str], environ: dict[str, str]) -> subprocess.Popen[bytes]:
    # In its own group: Ctrl-C reaches only this script, which stops all in order.
    return subprocess.Popen(
        [sys.executable, *command], env=environ, start_new_session=True
    )


def _ready(registry: Registry) -> bool:
    try:
        registry.ready()
    except (RegistryError, RegistryUnreachable):
        return False
    return True


def _all_healthy(registry: Registry) -> bool:
    healthy = registry.services(status="healthy").services
    return SERVICES.keys() <= {service.id for service in healthy}


def _until(
    condition: Callable[[], bool], processes: list[subprocess.Popen[bytes]]
) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while not stopping.is_set() and not condition():
        ended = [process for process in processes if process.poll() is not None]
        if ended or time.monotonic() > deadline:
            raise SystemExit("the weather system did not start; see the output above")
        stopping.wait(0.1)


def _end(processes: list[subprocess.Popen[bytes]]) -> None:
    """Stop the processes, the registry last, so that the services can unregister."""
    registry, services = processes[0], processes[1:]
    for group in (services, [registry]):
        for process in group:
            process.terminate()
        for process in group:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def stop(port: int) -> int:
    try:
        os.kill(int(pid_file(port).read_text()), signal.SIGTERM)
    except (OSError, ValueError):
        print(f"no weather system is running with a registry on port {port}")
        return 1
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=5000)
    parser.add_argument("--page", type=int, default=8000)
    parser.add_argument("--stop", action="store_true")
    arguments = parser.parse_args()
    if arguments.stop:
        return stop(arguments.port)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    pid_file(arguments.port).write_text(str(os.getpid()))
    try:
        return start(arguments.port, arguments.page)
    finally:
        pid_file(arguments.port).unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
