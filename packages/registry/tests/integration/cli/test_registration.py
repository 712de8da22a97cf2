"""Commands that change something: what was done, in words or as the API's JSON."""

import json
import re
from pathlib import Path

import pytest

from support.cli import Served, run

MINIMAL = ("--capability", "greet", "--location", "worker 7", "--mode", "ipc")


def test_a_service_is_registered_from_options_and_replaced(served: Served) -> None:
    first = served.run("register", "--id", "a", *MINIMAL)
    assert first.exit_code == 0, first.stderr
    assert first.stdout.startswith("registered a at revision ")
    options = (
        *("--name", "Hello", "--version", "2.0.0", "--weight", "3", "--ttl", "60"),
        *("--metadata", "region=eu", "--metadata", "note=a=b"),
        *("--capability", "greet/formal"),
        *("--zone", "eu-1a", "--region", "eu-1", "--priority", "10"),
    )
    again = served.run("register", "--id", "a", *MINIMAL, *options)
    assert again.stdout.startswith("replaced a at revision ")
    service = served.get("/api/services/a")
    assert service["capabilities"] == ["greet", "greet/formal"]
    assert (service["name"], service["version"]) == ("Hello", "2.0.0")
    assert (service["weight"], service["ttl"]) == (3, 60)
    assert service["metadata"] == {"region": "eu", "note": "a=b"}
    assert (service["zone"], service["region"]) == ("eu-1a", "eu-1")
    info = served.run("info", "a").stdout
    assert re.search("^zone +eu-1a$", info, re.M)
    assert re.search("^priority +10$", info, re.M)
    assert re.search("^region +eu-1$", info, re.M)


def test_services_are_found_by_their_zone(served: Served) -> None:
    for zone in ("z1", "z2"):
        fields = ("--id", zone, "--zone", zone, "--region", "r")
        where = ("--capability", "zoned", "--location", "x", "--mode", "ipc")
        assert served.run("register", *fields, *where).exit_code == 0
    for zone in ("z1", "z2", "z1"):
        for _ in range(2):
            assert served.json("find", "zoned", "--near", zone)["id"] == zone
        listed = served.json("ls", "--zone", zone, "--region", "r")["services"]
        assert [each["id"] for each in listed] == [zone]
    assert served.run("find", "zoned", "--near", "a b").exit_code == 1


def test_the_check_can_be_chosen(served: Served) -> None:
    reply = served.json(
        *("register", "--id", "checked", "--capability", "x"),
        *("--location", "http://127.0.0.1:9", "--health-path", "/up"),
        *("--health-interval", "7", "--health-timeout", "2"),
    )
    assert (reply["status"], reply["service_id"]) == ("registered", "checked")
    health = served.get("/api/services/checked")["health"]
    assert health == {"path": "/up", "interval": 7, "timeout": 2}
    assert served.get("/api/services/checked")["name"] == "checked"


def test_a_file_is_read_and_options_win(served: Served, tmp_path: Path) -> None:
    fields = {
        "id": "from-file",
        "capabilities": ["x"],
        "location": "worker 1",
        "mode": "ipc",
        "metadata": {"gpu": True},
        "ttl": None,
    }
    path = tmp_path / "service.json"
    path.write_text(json.dumps(fields))
    served.json("register", "--file", str(path))
    assert served.get("/api/services/from-file")["metadata"] == {"gpu": True}
    result = served.run(
        "register", "--file", "-", "--location", "worker 2", stdin=json.dumps(fields)
    )
    assert result.exit_code == 0, result.stderr
    assert served.get("/api/services/from-file")["location"] == "worker 2"


@pytest.mark.parametrize(
    ("arguments", "stdin", "said"),
    [
        (("--id", "x"), None, "--capability, --location"),
        (("--file", "-"), "not JSON", "--file"),
        (("--file", "-"), "[1]", "not a JSON object"),
        (("--file", "-", "--id", "x", *MINIMAL), '{"port": 1}', "'port'"),
        (("--file", "-", "--id", "x", *MINIMAL), '{"metadata": {"a": NaN}}', "JSON"),
        (("--file", "/no/such/file"), None, "/no/such/file"),
        (("--id", "x", *MINIMAL, "--weight", "much"), None, "--weight"),
        (("--id", "x", *MINIMAL, "--metadata", "=1"), None, "KEY=VALUE"),
    ],
)
def test_a_registration_that_can_not_be_sent_is_code_2(
    served: Served, arguments: tuple[str, ...], stdin: str | None, said: str
) -> None:
    result = served.run("register", *arguments, stdin=stdin)
    assert result.exit_code == 2
    assert said in result.stderr


def test_what_the_registry_refuses_names_every_field(served: Served) -> None:
    result = served.run("register", "--id", "-x-", *MINIMAL, "--weight", "-1")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "id " in result.stderr and "weight " in result.stderr
    place = ("--id", "x", "--capability", "x", "--location", "http://169.254.169.254")
    assert "never allowed" in served.run("register", *place).stderr


def test_only_new_replaces_nobody(served: Served) -> None:
    served.register("taken")
    result = served.run("register", "--id", "taken", *MINIMAL, "--only-new")
    assert result.exit_code == 1
    assert "taken is at revision" in result.stderr
    assert served.get("/api/services/taken")["name"] == "Hello"


def test_drain_and_undrain(served: Served) -> None:
    served.register("tired")
    result = served.run("drain", "tired", "--reason", "upgrade")
    assert (result.exit_code, result.stdout) == (
        0,
        "tired gets no new calls; undrain puts it back\n",
    )
    drain = served.get("/api/services/tired")["evidence"]["drain"]
    assert drain["reason"] == "upgrade"
    assert served.json("drain", "tired")["status"] == "draining"
    assert served.run("undrain", "tired").stdout == "tired is healthy\n"
    assert served.json("undrain", "tired")["status"] == "healthy"
    for command in ("drain", "undrain"):
        result = served.run(command, "nobody")
        assert result.exit_code == 1 and "'nobody'" in result.stderr


def test_several_are_unregistered_and_a_missing_one_is_told(served: Served) -> None:
    for service_id in ("x1", "x2", "x3"):
        served.register(service_id)
    result = served.run("unregister", "x1", "nobody", "x2")
    assert result.exit_code == 1
    assert result.stdout == "unregistered x1\nunregistered x2\n"
    assert "'nobody'" in result.stderr and result.stderr.count("\n") == 1
    reply = served.json("unregister", "x3")
    assert (reply["status"], reply["service_id"]) == ("unregistered", "x3")
    left = {each["id"] for each in served.get("/api/services")["services"]}
    assert left.isdisjoint({"x1", "x2", "x3"})


def test_nothing_is_unregistered_without_an_id() -> None:
    assert run("unregister").exit_code == 2


def test_report_says_what_a_check_found(served: Served) -> None:
    checks = [{"name": "jobs", "kind": "ttl", "ttl": 60}]
    served.register("worker", mode="standalone", location="here", checks=checks)
    bad = ("--status", "unhealthy", "--note", "x")
    done = served.run("report", "worker", "jobs", *bad)
    assert done.stdout == (
        "reported jobs of worker as unhealthy; report again within 60 s\n"
    )
    shown = served.run("info", "worker").stdout
    assert "check jobs" in shown and "unhealthy: x" in shown
    served.run("report", "worker", "jobs", "--status", "warning", "--note", "slow")
    shown = served.run("info", "worker").stdout
    assert "check: check 'jobs': slow" in shown and "warning: slow" in shown
    assert "check 'jobs': slow" in served.run("ls", "--status", "warning").stdout
    assert served.json("report", "worker", "jobs")["ttl"] == 60
    assert served.json("info", "worker")["status"] == "healthy"
    assert served.run("report", "worker", "none").exit_code == 1
