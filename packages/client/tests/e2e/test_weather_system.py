"""The weather system: a command starts it, nobody notices a death, one ends it."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from client_support import REPOSITORY
from client_support.harness import eventually
from modularity_client import Registry, Resolver
from support.serving import free_port

ROOT = REPOSITORY
EXAMPLE = ROOT / "examples" / "02-weather-system"
CITIES = ("Berlin", "Lagos", "Lima", "Oslo", "Tokyo")


class System:
    """The running system; ``pids`` by the services' names."""

    def __init__(self) -> None:
        self.port, self.page = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = subprocess.Popen(
            [sys.executable, *self.command()], stdout=subprocess.PIPE, text=True
        )
        self.pids: dict[str, int] = {}
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if found := re.fullmatch(r"(\S+) is process (\d+)\n", line):
                self.pids[found[1]] = int(found[2])
            if line.startswith("the registry is at"):
                break
        assert self.pids.keys() == {
            "location-service", "weather-1", "weather-2", "dashboard",
        }  # fmt: skip

    def command(self) -> list[str]:
        ports = ["--port", str(self.port), "--page", str(self.page)]
        return [str(EXAMPLE / "run.py"), *ports]

    def get(self, port: int, path: str) -> str:
        url = f"http://127.0.0.1:{port}{path}"
        with urllib.request.urlopen(url, timeout=20) as reply:
            text: str = reply.read().decode()
            return text

    def overview(self) -> list[dict[str, Any]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.page, timeout=20)
        body = json.dumps({"capability": "weather.overview"})
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/_module/invoke", body, headers)
        reply = connection.getresponse()
        assert reply.status == 200
        found: list[dict[str, Any]] = json.load(reply)["result"]
        connection.close()
        return found


@pytest.fixture
def system() -> Iterator[System]:
    system = System()
    yield system
    if system.process.poll() is None:
        system.process.send_signal(signal.SIGINT)
    assert system.process.wait(30) == 0
    assert system.process.stdout is not None
    system.process.stdout.close()
    for pid in system.pids.values():
        assert not Path(f"/proc/{pid}").exists()


def test_the_page_shows_the_weather_of_every_city(system: System) -> None:
    page = system.get(system.page, "/")
    assert all(city in page for city in CITIES)
    assert "2 providers of weather.now are healthy" in page
    told = system.overview()
    assert [each["city"] for each in told] == list(CITIES)
    assert {each["instance"] for each in told} == {"weather-1", "weather-2"}
    assert system.overview()[0]["temperature"] == told[0]["temperature"]

    def edges() -> set[tuple[str, str]]:
        graph = json.loads(system.get(system.port, "/api/graph"))
        return {(edge["from"], edge["to"]) for edge in graph["edges"]}

    wanted = {("dashboard", name) for name in system.pids if name != "dashboard"}
    eventually(lambda: wanted <= edges())


def test_callers_lose_no_request_when_an_instance_dies(system: System) -> None:
    where = {"latitude": 52.5, "longitude": 13.4}
    answers: list[str] = []
    failures: list[BaseException] = []
    stop = threading.Event()
    registry = Registry(system.url)
    resolver = Resolver(registry, "weather.now", consumer_id="load")

    def call() -> None:
        while not stop.wait(0.01):
            try:
                answers.append(resolver.invoke("weather.now", where)["instance"])
            except BaseException as error:
                failures.append(error)

    callers = [threading.Thread(target=call) for _ in range(4)]
    for caller in callers:
        caller.start()
    eventually(lambda: {"weather-1", "weather-2"} <= set(answers))
    os.kill(system.pids["weather-1"], signal.SIGKILL)
    after = len(answers)
    eventually(lambda: len(answers) > after + 200)
    assert all(city in system.get(system.page, "/") for city in CITIES)
    stop.set()
    for caller in callers:
        caller.join()
    resolver.close()
    registry.close()
    assert failures == []
    assert set(answers[-100:]) == {"weather-2"}


def test_one_command_stops_it(system: System) -> None:
    command = [sys.executable, *system.command(), "--stop"]
    assert subprocess.run(command, timeout=60).returncode == 0
    assert system.process.wait(30) == 0


def test_the_readme_names_the_commands_that_are_tested_here() -> None:
    text = (EXAMPLE / "README.md").read_text()
    found = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    assert "".join(found).splitlines() == [
        "uv run python examples/02-weather-system/run.py",
        "uv run python examples/02-weather-system/run.py --stop",
        "curl localhost:5000/api/capabilities",
        "curl localhost:5000/api/graph",
        "curl -X POST localhost:8000/_module/invoke -H 'Content-Type: application/json'"
        ' -d \'{"capability": "weather.overview"}\'',
    ]
