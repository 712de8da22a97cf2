"""The configuration file of a real registry, and the commands about settings."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import requests

from e2e.docs.blocks import blocks
from modularity_registry.config import GROUPS, OPTIONS, Settings, load
from support import REPOSITORY, TESTS
from support.cli import environ, run, spaced
from support.registry import eventually
from support.serving import HOST, free_port
from support.telemetry import require_otlp

SCRIPT = REPOSITORY / "packages" / "registry" / "registry_service.py"
SECRET = "hunter2X9z"
PROGRAM = "modularity-registry"


@contextmanager
def serving(
    *command: str, port: int, **settings: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a registry until it answers at the port; end it, and its workers."""
    process = subprocess.Popen(
        [sys.executable, *command],
        env=environ(PYTHONPATH=str(TESTS), **settings),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )

    def ready() -> bool:
        assert process.poll() is None, process.communicate()[1]
        try:
            return requests.get(f"http://{HOST}:{port}/ready", timeout=5).ok
        except requests.ConnectionError:
            return False

    try:
        eventually(ready)
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=20)


def origin_allowed(port: int) -> str | None:
    """Return the origin of a web page that the registry lets call it."""
    # Each on a connection of its own, so that several workers get one.
    headers = {"Origin": "https://a.example", "Connection": "close"}
    reply = requests.get(f"http://{HOST}:{port}/health", headers=headers, timeout=5)
    return reply.headers.get("Access-Control-Allow-Origin")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "registry.toml"
    path.write_text(
        f'port = {free_port()}\nallowed_origins = ["https://a.example"]\n'
        f'store = "sqlite:///{tmp_path}/registry.db"\n'
    )
    return path


def test_a_registry_serves_with_its_file_and_all_workers_do(file: Path) -> None:
    port = load({"config": str(file)}, {}).port
    file.write_text(f"{file.read_text()}workers = 2\n")
    command = ("-m", "support.programs.cli", "serve", "--config", str(file))
    with serving(*command, port=port):
        assert {origin_allowed(port) for _ in range(20)} == {"https://a.example"}


def test_the_script_reads_the_file_and_a_flag_wins_over_it(file: Path) -> None:
    port = free_port()
    command = (str(SCRIPT), "--config", str(file), "--port", str(port))
    with serving(*command, port=port):
        assert origin_allowed(port) == "https://a.example"
    with serving(
        *(str(SCRIPT), "--port", str(port)), port=port, REGISTRY_CONFIG=str(file)
    ):
        assert origin_allowed(port) == "https://a.example"


def test_a_file_with_a_password_that_others_may_read_is_named(file: Path) -> None:
    require_otlp()
    port = load({"config": str(file)}, {}).port
    file.write_text(f'{file.read_text()}otel_endpoint = "http://u:{SECRET}@h"\n')
    file.chmod(0o644)
    warning = f"may read the configuration file {file}; run chmod o-rw {file}"
    checked = run("config", "check", "--config", str(file))
    assert (checked.exit_code, checked.stdout) == (0, "OK\n")
    assert warning in checked.stderr and SECRET not in checked.stderr
    command = ("-m", "support.programs.cli", "serve", "--config", str(file))
    with serving(*command, port=port) as process:
        process.send_signal(signal.SIGTERM)
        log = process.communicate(timeout=20)[1].decode()
    assert warning in log and SECRET not in log
    file.chmod(0o640)
    assert run("config", "check", "--config", str(file)).stderr == ""


def test_a_file_without_a_password_may_be_read_by_all(file: Path) -> None:
    file.chmod(0o644)
    checked = run("config", "check", REGISTRY_CONFIG=str(file))
    assert (checked.exit_code, checked.output) == (0, "OK\n")


@pytest.mark.parametrize(
    ("command", "code"), [("serve", 1), ("config check", 2), ("config show", 2)]
)
def test_every_fault_is_a_line_on_standard_error(
    command: str, code: int, tmp_path: Path
) -> None:
    file = tmp_path / "registry.toml"
    file.write_text("port = 0\ncolour = 'red'\n")
    result = run(*command.split(), f"--config={file}", "--workers=x", REGISTRY_PROT="1")
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.splitlines() == [
        f"{PROGRAM}: --workers='x': must be a whole number from 1 to 64",
        f"{PROGRAM}: {file}:1: port='0': must be a whole number from 1 to 65535",
        f"{PROGRAM}: {file}:2: colour is not a setting",
        f"{PROGRAM}: REGISTRY_PROT is not a setting; did you mean REGISTRY_PORT?",
    ]


def test_check_opens_no_store_and_no_port(file: Path) -> None:
    text = file.read_text()
    file.write_text(text.replace("sqlite:", "etcd:").replace(str(file.parent), "h"))
    assert run("config", "check", "--config", str(file)).exit_code == 2
    file.write_text(text)
    assert run("config", "check", "--config", str(file)).exit_code == 0
    assert [path.name for path in file.parent.iterdir()] == ["registry.toml"]


def test_show_has_every_setting_and_where_it_comes_from(file: Path) -> None:
    port = load({"config": str(file)}, {}).port
    arguments = ("config", "show", "--config", str(file), "--debug")
    result = run(*arguments, REGISTRY_DNS_PORT="5353")
    assert (result.exit_code, result.stderr) == (0, "")
    heading, *rows = spaced(result.stdout)
    assert heading == "SETTING VALUE FROM"
    names = [row.split()[0] if row.startswith(" ") else row for row in rows]
    assert names == [
        name
        for group, options in GROUPS.items()
        for name in (group, *(option.field for option in options))
    ]
    assert f" port {port} {file}:1" in rows
    assert f" allowed_origins https://a.example {file}:2" in rows
    assert f" store sqlite:///{file.parent}/registry.db {file}:3" in rows
    assert " dns_port 5353 REGISTRY_DNS_PORT" in rows
    assert " debug true --debug" in rows
    assert " host 127.0.0.1 default" in rows


def test_show_as_json(file: Path) -> None:
    result = run("config", "show", "--json", "--auth", "--anonymous", "track,read")
    entries = json.loads(result.stdout)["settings"]
    assert [entry["name"] for entry in entries] == [option.field for option in OPTIONS]
    values = {entry["name"]: entry["value"] for entry in entries}
    assert values["anonymous"] == ["read", "track"]
    assert (values["auth"], values["port"]) == (True, 5000)
    assert values["allowed_origins"] == list(Settings().allowed_origins)
    sources = {entry["name"]: entry["from"] for entry in entries}
    assert (sources["auth"], sources["port"]) == ("--auth", "default")
    assert {entry["group"] for entry in entries} == GROUPS.keys()


@pytest.mark.parametrize(
    ("setting", "url"),
    [
        ("store", f"postgresql://u:{SECRET}@h/db"),
        ("store", f"postgresql://h/{SECRET}"),
        ("store", f"etcd://u:{SECRET}@h:1,h:2"),
        ("store", f"redis://:{SECRET}@h"),
        ("store", f"consul://:{SECRET}@h"),
        ("rate_store", f"redis://:{SECRET}@h"),
        ("rate_store", f"redis://h/{SECRET}"),
        ("otel_endpoint", f"https://u:{SECRET}@h"),
        ("otel_endpoint", f"https://h/{SECRET}"),
        ("tokens_file", f"postgresql://u:{SECRET}@h/db"),
        ("host", f"//u:{SECRET}@h"),
    ],
)
def test_no_secret_is_shown(setting: str, url: str, tmp_path: Path) -> None:
    file = tmp_path / "registry.toml"
    file.write_text(f'{setting} = "{url}"\nwrite_rate = "1/second"\nauth = true\n')
    flag = f"--{setting.replace('_', '-')}"
    for arguments in (("--config", str(file)), (flag, url, "--write-rate=1/day")):
        more = ("--auth",) if flag == "--tokens-file" else ()
        for command in (("show",), ("show", "--json"), ("check",)):
            result = run("config", *command, *arguments, *more)
            assert result.exit_code == 0, result.stderr
            assert SECRET not in result.output
            assert command == ("check",) or "(hidden)" in result.output


def test_init_is_a_file_of_all_defaults(tmp_path: Path) -> None:
    text = run("config", "init").stdout
    file = tmp_path / "registry.toml"
    file.write_text(text)
    assert load({"config": str(file)}, {}) == Settings()
    file.write_text(re.sub(r"^#(?=\w)", "", text, flags=re.MULTILINE))
    shown = json.loads(run("config", "show", "--json", f"--config={file}").stdout)
    assert load({"config": str(file)}, {}) == Settings()
    assert all(entry["from"] != "default" for entry in shown["settings"])


def test_doctor_looks_at_the_file(file: Path) -> None:
    def findings(*arguments: str) -> list[dict[str, str]]:
        line = ("doctor", "--json", "--url", f"http://{HOST}:{free_port()}", *arguments)
        result = run(*line, REGISTRY_CONFIG=str(file))
        return list(json.loads(result.stdout)["findings"])

    valid, port, *_ = findings()
    assert valid["message"] == f"its settings, and those in {file}, are valid"
    assert port["message"].startswith(f"the port in {file}:1 is ")
    refused = ("--location", "http://127.0.0.1:9001", "--mode", "http")
    file.write_text("allowed_networks = '10.0.0.0/8'\n")
    assert "refused" in findings(*refused)[1]["message"]
    file.write_text("port = 0\ncolour = 1\n")
    assert [each["message"] for each in findings()][:2] == [
        f"{file}:1: port='0': must be a whole number from 1 to 65535",
        f"{file}:2: colour is not a setting",
    ]


def test_commands_on_the_store_and_the_audit_find_them_in_the_file(file: Path) -> None:
    environ = {"REGISTRY_CONFIG": str(file)}
    audit = file.parent / "audit.jsonl"
    audit.touch()
    file.write_text(f"{file.read_text()}audit_file = '{audit}'\n")
    assert run("audit", **environ).stdout == "No entries.\n"
    result = run("export", **environ)
    assert f"there is no store file {file.parent}/registry.db" in result.stderr
    file.write_text("store = 5\n")
    for command in ("export", "audit"):
        result = run(command, **environ)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr == f"{PROGRAM}: {file}:1: store: must be text in quotes\n"


def test_the_files_in_the_documentation_are_valid(tmp_path: Path) -> None:
    page = (REPOSITORY / "docs" / "configuration.md").read_text()
    examples = [block.text for block in blocks(page) if block.language == "toml"]
    assert len(examples) == 1
    file = tmp_path / "registry.toml"
    file.write_text(examples[0])
    assert load({"config": str(file)}, {}).port == 8443
