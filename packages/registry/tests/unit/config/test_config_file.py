"""The configuration file: its types, what it is over and under, and its faults."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modularity_registry.config import (
    OFF,
    OPTIONS,
    Option,
    Settings,
    load,
    load_with_sources,
    written,
)
from modularity_registry.errors import BadSetting
from modularity_registry.model.rights import Right

Write = Callable[[str], dict[str, str | None]]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a file, and returns the flag for it."""

    def write(text: str) -> dict[str, str | None]:
        path = tmp_path / "registry.toml"
        path.write_text(text)
        return {"config": str(path)}

    return write


def faults(flags: dict[str, str | None], environ: dict[str, str]) -> list[str]:
    """The lines that are told, without the folder of the file."""
    with pytest.raises(BadSetting) as caught:
        load(flags, environ)
    folder = str(Path(flags.get("config") or "/x").parent)
    return caught.value.detail.replace(f"{folder}/", "").split("\n")


def toml(value: Any) -> str:
    if isinstance(value, tuple | frozenset):
        return json.dumps(list(value))
    return json.dumps(value)


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.field)
def test_every_setting_can_be_in_the_file(option: Option, write: Write) -> None:
    flags = write(f"{option.field} = {toml(option.default)}\n")
    settings, sources = load_with_sources(flags, {})
    assert settings == Settings()
    assert sources == {option.field: f"{flags['config']}:1"}
    as_text = write(f"{option.field} = {json.dumps(written(option.default))}")
    assert load(as_text, {}) == Settings()


def test_flags_win_over_the_environment_and_that_over_the_file(write: Write) -> None:
    flags = write("# Ports\nport = 1\ndns_port = 2\n\nworkers = 1\nhost = 'a'\n")
    settings, sources = load_with_sources(
        {**flags, "port": "5"}, {"REGISTRY_PORT": "3", "REGISTRY_DNS_PORT": "4"}
    )
    assert (settings.port, settings.dns_port, settings.host) == (5, 4, "a")
    assert sources == {
        "port": "--port",
        "dns_port": "REGISTRY_DNS_PORT",
        "workers": f"{flags['config']}:5",
        "host": f"{flags['config']}:6",
    }


def test_the_variable_names_a_file_and_the_flag_wins_over_it(write: Write) -> None:
    environ = {"REGISTRY_CONFIG": str(write("port = 6000")["config"])}
    assert load({}, environ).port == 6000
    assert load({"config": OFF}, environ).port == 5000
    assert load({}, {"REGISTRY_CONFIG": ""}).port == 5000


@pytest.mark.parametrize(
    ("line", "field", "expected"),
    [
        ("debug = true", "debug", True),
        ('debug = "yes"', "debug", True),
        ("max_services = 1_000", "max_services", 1000),
        ("health_check_interval = 2", "health_check_interval", 2.0),
        ("health_check_interval = 2.5", "health_check_interval", 2.5),
        ('port = "6000"', "port", 6000),
        ('"port" = 6000', "port", 6000),
        (
            'auth = true\nanonymous = ["read", "track"]',
            "anonymous",
            {Right.READ, Right.TRACK},
        ),
        ("anonymous = []", "anonymous", set()),
        ("allowed_origins = []", "allowed_origins", ()),
        (
            'allowed_networks = ["loopback",\n  "10.0.0.0/8"]',
            "allowed_networks",
            "loopback,10.0.0.0/8",
        ),
        ("trusted_proxies = []", "trusted_proxies", OFF),
        ("\ufeffport = 6000", "port", 6000),
    ],
)
def test_good_values(line: str, field: str, expected: object, write: Write) -> None:
    assert getattr(load(write(line), {}), field) == expected


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("port = true", "port: must be a number"),
        ("port = 2020-01-01", "port: must be a number"),
        ("port = [5000]", "port: must be a number"),
        ("port = 5000.0", "port='5000.0': must be a whole number from 1 to 65535"),
        ("port = -1", "port='-1': must be a whole number from 1 to 65535"),
        ("debug = 1", "debug: must be true or false, without quotes"),
        ("host = 5", "host: must be text in quotes"),
        ("tls_min_version = 1.2", "tls_min_version: must be text in quotes"),
        ("anonymous = [1]", "anonymous: must be text in quotes, or a list of texts"),
        ("Port = 1", "Port is not a setting; did you mean port?"),
        ("dns-port = 1", "dns-port is not a setting; did you mean dns_port?"),
        (
            "REGISTRY_STORE = 1",
            "REGISTRY_STORE is not a setting; did you mean store?",
        ),
        ("colour = 1", "colour is not a setting"),
        ("config = 'x'", "config is not a setting"),
        (
            "[limits]\nmax_services = 1",
            "limits is a table, and settings are in none; write them without [...]",
        ),
        ("dns.port = 1", "dns is a table"),
    ],
)
def test_bad_entries_are_one_clear_line(line: str, fault: str, write: Write) -> None:
    [told] = faults(write(f"\n{line}\n"), {})
    assert told.startswith(f"registry.toml:2: {fault}")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("port 5000", "registry.toml is not valid TOML: Expected '='"),
        ("port = 1\nport = 2", "registry.toml is not valid TOML: Cannot overwrite"),
        ("x = " + "[" * 100_000, "registry.toml is not valid TOML: "),
        ("port = " + "9" * 5_000, "registry.toml is not valid TOML: "),
    ],
)
def test_what_is_no_toml_is_one_line(text: str, fault: str, write: Write) -> None:
    [told] = faults(write(text), {})
    assert told.startswith(fault)


def test_files_that_can_not_be_read(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.toml")
    assert faults({"config": missing}, {}) == [
        "the configuration file missing.toml can't be read: no such file or directory"
    ]
    [told] = faults({}, {"REGISTRY_CONFIG": str(tmp_path)})
    assert told.endswith("can't be read: is a directory")
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"host = '\xff'")
    [told] = faults({"config": str(binary)}, {})
    assert told == "binary.toml is not valid TOML: it is not UTF-8 text"


def test_all_faults_are_told_at_once(write: Write) -> None:
    flags = write("prot = 1\ndns_port = 'x'\nhost = 5\n")
    environ = {"REGISTRY_DEBUG": "perhaps", "REGISTRY_STOER": "memory://"}
    assert faults({**flags, "workers": "0"}, environ) == [
        "--workers='0': must be a whole number from 1 to 64",
        "REGISTRY_DEBUG='perhaps': must be true or false",
        "registry.toml:2: dns_port='x': must be a whole number from 0 to 65535",
        "registry.toml:3: host: must be text in quotes",
        "registry.toml:1: prot is not a setting; did you mean port?",
        "REGISTRY_STOER is not a setting; did you mean REGISTRY_STORE?",
    ]


def test_all_contradictions_are_told_once_the_values_are_valid(write: Write) -> None:
    text = "workers = 2\ntls_key = 'k'\nanonymous = 'read'\ncolour = 1\n"
    told = faults(write(text), {})
    assert [line.split()[0] for line in told] == [
        *("registry.toml:4:", "--workers", "--anonymous", "--tls-key")
    ]
    assert len(faults(write(f"{text}port = 0"), {})) == 2


def test_a_fault_in_the_file_is_told_even_if_a_flag_wins(write: Write) -> None:
    [told] = faults({**write("port = 0"), "port": "80"}, {})
    assert told.startswith("registry.toml:1: port='0'")
