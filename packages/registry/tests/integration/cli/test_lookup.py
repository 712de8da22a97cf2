"""Commands that look: tables for people, the API's own JSON for programs."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
import requests

from modularity_registry.catalog.selection import STRATEGIES
from modularity_registry.cli import lookup
from modularity_registry.cli.main import COMMANDS, main
from modularity_registry.cli.output import plain
from modularity_registry.cli.render import graph_page
from support import TESTS
from support.cli import Served, Stub, environ, run, spaced
from support.serving import free_port

UNCHECKED = ("--capability", "x", "--location", "here", "--mode", "ipc")
WITHOUT_JSON = {
    *("completion", "config", "demo", "export", "haproxy", "import", "init"),
    *("mirror", "render", "serve", "store"),
    *("mesh run", "mesh intention"),
}
HEAVY = {"aiohttp", "flask", "grpc", "httpx", "pydantic", "uvicorn", "uvloop"}


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """A registry with three services; nobody changes them here."""
    registry = Served()
    try:
        registry.register("a", capabilities=["greet", "greet/formal"])
        registry.register("b", version="2.0.0", mode="ipc", metadata={"region": "us"})
        registry.register("c", capabilities=["report"], name="[red]C")
        registry.run("drain", "b", "--reason", "upgrade")
        call = {"consumer_id": "cron", "provider_id": "a", "capability": "greet"}
        said = {"success": True, "latency_ms": 2.5}
        url = f"{registry.url}/api/track/invocation"
        assert requests.post(url, json={**call, **said}, timeout=10).ok
        yield registry
    finally:
        registry.kill()


def test_starting_loads_nothing_that_help_does_not_need() -> None:
    program = "import sys, modularity_registry.cli.main; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert HEAVY & set(done.stdout.split()) == set()


def _lines() -> list[tuple[str, ...]]:
    """Every command as it is called; of a group, those in it."""
    return [
        (name, *more)
        for name in COMMANDS
        if (command := main.get_command(click.Context(main), name))
        for more in (
            [(name,) for name in command.commands]
            if isinstance(command, click.Group)
            else [()]
        )
    ]


@pytest.mark.parametrize("line", _lines(), ids=" ".join)
def test_every_command_says_what_it_does(line: tuple[str, ...]) -> None:
    result = run(*line, "--help")
    assert result.exit_code == 0
    without = {line[0], " ".join(line)} & WITHOUT_JSON
    assert without or "--json" in result.stdout


def test_the_list_of_commands_has_each_ones_own_first_line() -> None:
    for name, (_, text) in COMMANDS.items():
        command = main.get_command(click.Context(main), name)
        assert command is not None
        assert command.get_short_help_str(limit=200) == text


@pytest.mark.parametrize("group", ["token", "store", "config"])
def test_no_summary_is_cut_however_narrow_the_terminal(group: str) -> None:
    wide = run(group, "--help", COLUMNS="200").stdout.partition("Commands:")[2]
    narrow = run(group, "--help", COLUMNS="30").stdout.partition("Commands:")[2]
    assert narrow.split() == wide.split()
    assert len(wide.split()) > 5 and "..." not in wide


def test_help_and_completion_of_a_name_import_no_command() -> None:
    program = (
        "import sys; from modularity_registry.cli.main import COMMANDS, main;"
        "main(['--help'], standalone_mode=False);"
        "main.shell_complete(main.make_context('', ['x'], resilient_parsing=True), '');"
        "mine = {f'modularity_registry.cli.{name}' for name in"
        "  ('options', 'options.connection', 'exit', 'main')};"
        "loaded = {m for m in sys.modules if m.startswith('modularity_registry.cli.')};"
        "assert loaded <= mine, loaded"
    )
    subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.DEVNULL, check=True
    )


def test_ls_is_a_table(served: Served) -> None:
    result = served.run("ls")
    assert result.exit_code == 0
    assert spaced(result.stdout) == [
        "ID STATUS MODE VERSION LOCATION CAPABILITIES REASON",
        "a healthy standalone 1.2.0 worker 7 greet, greet/formal",
        "b draining ipc 2.0.0 worker 7 greet upgrade",
        "c healthy standalone 1.2.0 worker 7 report",
    ]


def test_ls_json_is_the_apis_own(served: Served) -> None:
    assert served.json("ls") == served.get("/api/services")


@pytest.mark.parametrize(
    ("flags", "found"),
    [
        ("--status healthy", "ac"),
        ("--status draining --status healthy", "abc"),
        ("--status inactive", "b"),
        ("--capability greet", "ab"),
        ("--capability greet --capability greet/formal", "a"),
        ("--mode ipc", "b"),
        ("--name [red]C", "c"),
        ("--version >=2", "b"),
        ("--metadata region=eu", "ac"),
        ("--metadata region=eu --metadata runtime=python", "ac"),
        ("--metadata region=", ""),
        ("--name ", ""),
    ],
)
def test_ls_takes_every_filter(served: Served, flags: str, found: str) -> None:
    services = served.json("ls", *flags.split(" "))["services"]
    assert "".join(each["id"] for each in services) == found


def test_an_empty_list_says_so(served: Served) -> None:
    result = served.run("ls", "--name", "nobody")
    assert (result.exit_code, result.stdout) == (0, "No service matches.\n")


def test_info_shows_what_is_known(served: Served) -> None:
    result = served.run("info", "a")
    lines = spaced(result.stdout)
    assert result.exit_code == 0
    assert "capabilities greet, greet/formal" in lines
    assert "metadata region=eu, runtime=python" in lines
    assert "status healthy" in lines
    assert any(line.startswith("called by cron greet 1 100% 2.5 ms") for line in lines)
    assert any(
        re.fullmatch(r"drained upgrade, at \d{4}-\S+Z", line)
        for line in spaced(served.run("info", "b").stdout)
    )


def test_info_json_is_the_service_and_its_connections(served: Served) -> None:
    shown = served.json("info", "a")
    assert shown.pop("connections") == served.get("/api/connections/a")
    assert shown == served.get("/api/services/a")


def test_find_prints_one_provider(served: Served) -> None:
    result = served.run("find", "greet")
    assert spaced(result.stdout)[1].startswith("a healthy standalone")
    bare = served.run("find", "greet", "--location")
    assert (bare.exit_code, bare.stdout) == (0, "worker 7\n")
    assert served.json("find", "greet/formal")["id"] == "a"
    assert served.json("find", "report", "--key", "u-17")["id"] == "c"
    assert served.json("find", "report", "--strategy", "weighted")["id"] == "c"
    assert served.json("find", "report", "--metadata", "region=eu")["id"] == "c"


def test_the_strategies_are_those_that_there_are() -> None:
    assert lookup.STRATEGIES == STRATEGIES


def test_explain_says_why_not(served: Served) -> None:
    result = served.run("explain", "greet")
    assert spaced(result.stdout) == [
        "ID STATUS RETURNED WHY NOT",
        "a healthy yes -",
        "b draining no it is draining: upgrade",
    ]
    assert served.json("explain", "greet") == (
        served.get("/api/capabilities/greet/explain")
    )


def test_discover_puts_the_best_first(served: Served) -> None:
    result = served.run("discover", "greet", "--optional", "greet/formal")
    assert spaced(result.stdout) == [
        "SCORE ID LOCATION REQUIRED OPTIONAL",
        "2 a worker 7 greet greet/formal",
    ]
    (match,) = served.json("discover", "greet")["matches"]
    assert match["service"] == served.get("/api/services?name=Hello")["services"][0]


def test_nobody_who_can_all_of_it_is_code_1(served: Served) -> None:
    result = served.run("discover", "greet", "report")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "no healthy service" in result.stderr and "explain" in result.stderr
    result = served.run("discover", "greet", "report", "--json")
    assert (result.exit_code, json.loads(result.stdout)["count"]) == (1, 0)


def test_stats_are_the_registrys_numbers(served: Served) -> None:
    lines = spaced(served.run("stats").stdout)
    assert lines[:5] == [
        "services 3",
        " healthy 2",
        " unhealthy 0",
        " draining 1",
        "capabilities 3",
    ]
    volatile = {"uptime_seconds", "checks", "watchers"}
    shown, real = served.json("stats"), served.get("/api/stats")
    assert shown.keys() == real.keys()
    assert {k: v for k, v in shown.items() if k not in volatile} == {
        k: v for k, v in real.items() if k not in volatile
    }


def test_the_graph_is_a_tree(served: Served) -> None:
    result = served.run("graph")
    # It fades with the time since the call.
    output = re.sub(r", [0-9.]+/s$", ", N/s", result.stdout, flags=re.MULTILINE)
    assert output.splitlines() == [
        "cron (not registered)",
        "└── a (healthy)  greet: 1 call, 100% ok, 2.5 ms, N/s",
        "",
        "2 services without calls: b, c",
    ]
    shown, real = served.json("graph"), served.get("/api/graph")
    for edge in (*shown["edges"], *real["edges"]):
        assert edge.pop("calls_per_second") <= 0.02
    assert shown == real
    assert served.run("graph", "--name", "no").stdout == "No service matches.\n"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (
            ("info", "nobody"),
            "no service 'nobody' is registered; modularity-registry ls",
        ),
        (("find", "fly"), "no service offers the capability 'fly'"),
        (("explain", "fly"), "no service offers the capability 'fly'"),
        (("find", "greet", "--mode", "ipc"), "; modularity-registry explain shows why"),
        (("ls", "--version", ">=x"), "version must be a version or a range"),
    ],
)
def test_what_the_registry_refuses_is_one_line_and_code_1(
    served: Served, command: tuple[str, ...], said: str
) -> None:
    result = served.run(*command)
    assert (result.exit_code, result.stdout) == (1, "")
    assert said in result.stderr
    assert result.stderr.startswith("modularity-registry: ")
    assert result.stderr.count("\n") == 1 and "GET /api" not in result.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("ls", "--colour"),
        ("ls", "--status", "sick"),
        ("ls", "--metadata", "region"),
        ("ls", "--metadata", "a=1", "--metadata", "a=2"),
        ("ls", "--url", "ftp://here"),
        ("ls", "--url", "http://here:70000"),
        ("info",),
        ("info", ""),
        ("find", "greet", "--strategy", "best"),
        ("find", "greet", "--strategy", "hash"),
        ("find", "greet", "--strategy", "random", "--key", "k"),
        ("find", "greet", "--location", "--json"),
        ("find", "greet/services"),
    ],
)
def test_a_mistake_in_the_command_is_code_2(command: tuple[str, ...]) -> None:
    result = run(*command, REGISTRY_URL=f"http://127.0.0.1:{free_port()}")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Usage: " in result.stderr and "Error: " in result.stderr


def test_a_registry_that_is_not_there_is_one_line_that_says_what_to_do() -> None:
    port = free_port()
    result = run("ls", "--url", f"http://127.0.0.1:{port}")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1
    for part in (f"127.0.0.1:{port}", "--url", "REGISTRY_URL", "doctor"):
        assert part in result.stderr


def test_the_next_url_is_asked_when_the_first_does_not_answer(served: Served) -> None:
    urls = f"http://127.0.0.1:{free_port()},{served.url}"
    assert served.run("ls", "--url", urls).exit_code == 0


@pytest.mark.parametrize("by", ["flag", "environment"])
def test_a_token_is_sent(by: str) -> None:
    stub = Stub({"/api/graph": {"nodes": [], "edges": []}})
    try:
        flags = ["--token", "t-1"] if by == "flag" else []
        env = {} if by == "flag" else {"REGISTRY_TOKEN": "t-1"}
        assert run("graph", "--url", stub.url, *flags, **env).exit_code == 0
    finally:
        stub.close()
    assert [each.get("Authorization") for each in stub.headers] == ["Bearer t-1"]


def test_what_is_no_registry_is_told() -> None:
    stub = Stub({"/api/stats": b"<html>"})
    try:
        result = run("stats", "--url", stub.url)
    finally:
        stub.close()
    assert (result.exit_code, result.stdout) == (1, "")
    assert "doctor" in result.stderr and result.stderr.count("\n") == 1


def test_nothing_that_a_terminal_would_obey_is_printed() -> None:
    assert plain("\x1b[2Jhello\n\u202e") == "\\x1b[2Jhello\\n\\u202e"
    assert plain("Grüße, 世界") == "Grüße, 世界"


def test_an_encoding_that_lacks_a_letter_is_no_error(served: Served) -> None:
    reply = served.run("register", "--id", "z", "--name", "世界", *UNCHECKED)
    assert reply.exit_code == 0, reply.stderr
    done = subprocess.run(
        [sys.executable, "-m", "support.programs.cli", "info", "z"],
        env=environ(REGISTRY_URL=served.url, PYTHONIOENCODING="latin-1"),
        cwd=TESTS,
        capture_output=True,
        text=True,
        timeout=60,
    )
    served.run("unregister", "z")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\u4e16\\u754c" in done.stdout


def test_many_that_call_nobody_are_counted() -> None:
    nodes = [
        {"id": f"s-{n:02}", "name": "S", "status": "healthy", "registered": True}
        for n in range(23)
    ]
    (line,) = graph_page({"nodes": nodes, "edges": []})
    assert str(line).startswith("23 services") and str(line).endswith("and 3 more")


def test_a_reader_who_has_enough_is_no_error(served: Served) -> None:
    program = f"{sys.executable} -m support.programs.cli ls --json | head -c 1"
    done = subprocess.run(
        ["bash", "-c", program],
        env=environ(REGISTRY_URL=served.url),
        cwd=TESTS,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("{", "")
