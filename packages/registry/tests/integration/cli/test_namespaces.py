"""Commands work in the namespace that the line or the environment names."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.cli import Served, Stub, environ, run, spaced, words
from support.registry import eventually

SERVICE = ("--capability", "greet", "--location", "here", "--mode", "standalone")


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    registry = Served(namespace=["team-a", "team-b"])
    try:
        registry.register("everybodys")
        yield registry
    finally:
        registry.kill()


def ids(served: Served, *arguments: str) -> list[str]:
    return [each["id"] for each in served.json("ls", *arguments)["services"]]


def test_a_service_lives_and_ends_in_its_namespace(served: Served) -> None:
    there = ("--namespace", "team-a")
    done = served.run("register", "--id", "a-1", *SERVICE, *there)
    assert done.exit_code == 0, done.stderr
    assert ids(served, *there) == ["a-1"]
    assert ids(served) == ids(served, "--namespace", "default") == ["everybodys"]
    assert served.run("info", "a-1").exit_code == 1
    for command in ("info a-1", "find greet", "explain greet", "discover greet"):
        result = served.run(*there, *command.split())
        assert result.exit_code == 0 and "a-1" in result.stdout, command
    assert served.json("stats", *there)["total_services"] == 1
    assert [node["id"] for node in served.json("graph", *there)["nodes"]] == ["a-1"]
    for verb in ("drain", "undrain", "unregister"):
        assert served.run(verb, "a-1").exit_code == 1
        assert served.run(verb, "a-1", *there).exit_code == 0
    assert ids(served, *there) == []


def test_after_the_command_wins_then_before_it_then_the_environment(
    served: Served,
) -> None:
    served.run("register", "--id", "b-1", *SERVICE, "--namespace", "team-b")
    env = {"REGISTRY_URL": served.url, "REGISTRY_NAMESPACE": "team-b"}
    assert "b-1" in run("ls", **env).stdout
    assert "No services" in run("--namespace", "team-a", "ls", **env).stdout
    line = ("--namespace", "team-a", "ls", "--namespace", "default")
    assert "everybodys" in run(*line, **env).stdout
    served.run("unregister", "b-1", "--namespace", "team-b")


def test_namespaces_are_listed_from_any(served: Served) -> None:
    for line in (("namespaces",), ("--namespace", "team-a", "namespaces")):
        assert spaced(served.run(*line).stdout) == [
            "NAME SERVICES CAPABILITIES",
            "default 1 1",
            "team-a 0 0",
            "team-b 0 0",
        ]
    assert served.json("namespaces")["count"] == 3


@pytest.mark.parametrize("command", [("ls",), ("doctor",), ("export", "--store", "x:")])
def test_what_is_no_name_is_a_mistake_in_the_line(command: tuple[str, ...]) -> None:
    for line, env in (
        ((*command, "--namespace", "Team A"), {}),
        (command, {"REGISTRY_NAMESPACE": "Team A"}),
    ):
        result = run(*line, **env)
        assert result.exit_code == 2, line
        assert "'Team A' must be a lower-case letter or digit" in result.stderr
        hint = "REGISTRY_NAMESPACE" if env else "--namespace"
        assert f"Invalid value for {hint}" in result.stderr


def test_a_namespace_that_is_not_there_is_explained(served: Served) -> None:
    result = served.run("ls", "--namespace", "team-c")
    assert result.exit_code == 1
    assert "there is no namespace 'team-c' here; modularity-registry namespaces" in (
        result.stderr
    )
    found = served.run("doctor", "--namespace", "team-c")
    assert found.exit_code == 1
    assert "there is no namespace 'team-c' here" in found.stdout


def test_a_registry_without_namespaces_may_be_too_old() -> None:
    stub = Stub({})
    try:
        line = ("ls", "--url", stub.url)
        assert "new enough" in run(*line, "--namespace", "team-a").stderr
        assert "new enough" not in run(*line).stderr
    finally:
        stub.close()


def test_doctor_looks_into_its_namespace(served: Served) -> None:
    there = ("--namespace", "team-a")
    served.run("register", "--id", "sick", *SERVICE, *there)
    served.run("drain", "sick", "--reason", "moved", *there)
    inside, outside = served.run("doctor", *there), served.run("doctor")
    assert "service sick" in inside.stdout and "everybodys" not in inside.stdout
    assert "sick" not in outside.stdout
    served.run("unregister", "sick", *there)


def test_watch_has_the_events_of_its_namespace(served: Served) -> None:
    command = [sys.executable, "-m", "modularity_registry", "watch", "--json"]
    watching = subprocess.Popen(
        [*command, "--namespace", "team-a", "--url", served.url],
        env=environ(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert watching.stdout is not None
    try:
        assert json.loads(watching.stdout.readline())["event"] == "connected"
        served.register("outside")
        served.run("register", "--id", "in", *SERVICE, "--namespace", "team-a")
        event = json.loads(watching.stdout.readline())
        assert (event["event"], event["data"]["id"]) == ("service.registered", "in")
    finally:
        watching.kill()
        watching.communicate()
        served.run("unregister", "outside")
        served.run("unregister", "in", "--namespace", "team-a")


def test_words_are_those_of_the_namespace(served: Served) -> None:
    served.run("register", "--id", "wordy", *SERVICE, "--namespace", "team-a")
    line = ("info", "--namespace", "team-a", "")
    eventually(lambda: words(served.url, *line) == {"wordy"})
    assert words(served.url, "--namespace", "team-a", "info", "") == {"wordy"}
    assert words(served.url, "info", "") == {"everybodys"}
    assert words(served.url, "ls", "--namespace", "team") == {"team-a", "team-b"}
    assert words("http://127.0.0.1:1", "ls", "--namespace", "t") == set()
    served.run("unregister", "wordy", "--namespace", "team-a")


def test_serve_has_an_option_of_its_own_by_this_name() -> None:
    result = run("--namespace", "team-a", "serve")
    assert result.exit_code == 2
    assert "serve does not take --namespace." in result.stderr
    # After it, it lists the namespaces that there are.
    assert setting("--namespace", "a,b") == ["a", "b"]
    # The environment of a client is no setting of the registry.
    assert setting(REGISTRY_NAMESPACE="team-a") == []
    checked = run("config", "check", REGISTRY_NAMESPACE="team-a")
    assert "list its namespaces in REGISTRY_NAMESPACES" in checked.stderr
    both = {"REGISTRY_NAMESPACE": "team-a", "REGISTRY_NAMESPACES": "team-a"}
    assert run("config", "check", **both).stderr == ""


def setting(*options: str, **env: str) -> list[str]:
    shown = run("config", "show", "--json", *options, **env)
    settings = json.loads(shown.stdout)["settings"]
    (value,) = [each["value"] for each in settings if each["name"] == "namespace"]
    return list(value)


@pytest.mark.parametrize("kind", ["--store", "--file"])
def test_tokens_are_made_in_a_namespace_without_a_registry(
    kind: str, tmp_path: Path
) -> None:
    place = str(tmp_path / "tokens.json")
    if kind == "--store":
        place = f"sqlite:///{tmp_path}/r.db"
        empty = {"format": "modularity-registry", "version": 1, "services": 0}
        assert run("import", "--store", place, stdin=json.dumps(empty)).exit_code == 0
    where = (kind, place)
    there = (*where, "--namespace", "team-a")
    create = ("token", "create", "--right", "admin")
    assert run(*create, "boss", *where).exit_code == 0
    done = run(*create, "ci", *there)
    assert done.exit_code == 0, done.stderr
    listed = [
        [each["name"] for each in json.loads(run(*line, "--json").stdout)["tokens"]]
        for line in (("token", "list", *where), ("token", "list", *there))
    ]
    assert listed == [["boss"], ["ci"]]
    # The last admin of the default one stays; that of a namespace may go.
    assert run("token", "revoke", "ci", *where).exit_code == 1
    assert run("token", "revoke", "boss", *where).exit_code == 1
    assert run("token", "revoke", "ci", *there).exit_code == 0
