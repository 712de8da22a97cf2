"""What is in deploy/ fits the registry, and docs/operating.md says what is in it."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from flask.testing import FlaskClient

from e2e.docs.blocks import table
from e2e.docs.reader import ROOT
from modularity_registry.config import OPTIONS, load
from support import PROGRAMS
from support.registry import eventually, registration
from support.servers import program
from support.servers.prometheus import Prometheus, promtool, running, scraped
from support.servers.registry import Registered
from support.serving import HOST, free_port

DEPLOY = ROOT / "deploy"
RULES = DEPLOY / "prometheus" / "alerts.yml"
RULES_TEST = DEPLOY / "prometheus" / "alerts_test.yml"
CONFIG = DEPLOY / "prometheus" / "prometheus.yml"
DASHBOARD = DEPLOY / "grafana" / "modularity-registry.json"
PAGE = ROOT / "docs" / "operating.md"

# A name that stands by itself: those of recording rules have colons around it.
NAME = re.compile(r"(?<![\w:])(?:registry|process)_\w+(?![\w:])")
PARTS = ("_bucket", "_sum", "_count")
VARIABLES = {
    "$__rate_interval": "10s",
    "$job": "modularity-registry",
    "$instance": ".*",
}
# What is only there when something is wrong.
EMPTY = {"Errors of the store"}


@pytest.fixture
def shown(client: FlaskClient) -> dict[str, str]:
    """The metrics of a registry, with their types."""
    text = client.get("/metrics").get_data(as_text=True)
    return dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))


def family(name: str, shown: dict[str, str]) -> str:
    """The metric that a sample's name belongs to."""
    for part in PARTS:
        whole = name.removesuffix(part)
        if whole != name and shown.get(whole) == "histogram":
            return whole
    return name


def panels() -> Iterator[dict[str, Any]]:
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        if panel["type"] != "row":
            yield panel


def expressions() -> Iterator[tuple[str, str]]:
    """Each panel's title with its questions, as Grafana would ask them."""
    for panel in panels():
        for target in panel["targets"]:
            asked = target["expr"]
            for name, value in VARIABLES.items():
                asked = asked.replace(name, value)
            yield panel["title"], asked


def check(*arguments: str | Path) -> None:
    done = subprocess.run(
        [promtool(), *arguments], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout and "FAILED" not in done.stdout, done.stdout


def test_promtool_takes_the_rules_and_the_configuration() -> None:
    check("check", "rules", RULES)
    check("check", "config", CONFIG)


def test_alerts_go_off_when_they_should() -> None:
    check("test", "rules", RULES_TEST)


def alerts() -> list[str]:
    return re.findall(r"^ +- alert: (\w+)$", RULES.read_text(), re.MULTILINE)


def test_every_alert_is_tried_both_ways() -> None:
    cases = RULES_TEST.read_text().split("- eval_time:")[1:]
    fired: set[str] = set()
    silent: set[str] = set()
    for case in cases:
        name = re.findall(r"alertname: (\w+)", case)[0]
        (silent if "exp_alerts: []" in case else fired).add(name)
    assert fired == silent == set(alerts())


def test_every_alert_is_in_the_operators_page_with_its_severity() -> None:
    rows = table(PAGE.read_text(), "alert")
    severities = re.findall(r"severity: (\w+)", RULES.read_text())
    assert [[row[0].strip("`"), row[1]] for row in rows] == [
        list(each) for each in zip(alerts(), severities, strict=True)
    ]
    assert all(len(row) == 4 and row[2] and row[3] for row in rows)


def test_every_metric_is_in_the_operators_page_and_none_else(
    shown: dict[str, str],
) -> None:
    rows = table(PAGE.read_text(), "metric")
    assert sorted(row[0].strip("`") for row in rows) == sorted(shown)
    assert all(len(row) == 4 and row[2] and row[3] for row in rows)


def test_the_operators_page_has_every_metrics_labels(
    live: Registered, shown: dict[str, str]
) -> None:
    requests.get(f"{live.url}/api/stats", timeout=5)
    eventually(lambda: 'operation="ping"' in live.metrics())
    found: dict[str, set[str]] = {name: set() for name in shown}
    for name, labels in re.findall(r"^(\w+)(?:{(.*)})? ", live.metrics(), re.MULTILINE):
        found[family(name, shown)].update(re.findall(r"(\w+)=\"", labels))
    rows = table(PAGE.read_text(), "metric")
    written = {row[0].strip("`"): set(re.findall(r"`(\w+)`", row[1])) for row in rows}
    unseen = {
        "registry_store_errors_total": {"operation"},
        "registry_tls_certificate_expiry_timestamp_seconds": {"certificate"},
        "registry_tls_certificate_expiry_days": {"certificate"},
        "registry_upstream_lookups_total": {"upstream", "result"},
        "registry_upstream_connected": {"upstream"},
    }
    assert written == {
        name: labels - {"le"} | unseen.get(name, set())
        for name, labels in found.items()
    }


def test_rules_name_only_what_the_registry_shows(shown: dict[str, str]) -> None:
    text = re.sub(r"^ *#.*$", "", RULES.read_text(), flags=re.MULTILINE)
    named = {family(each, shown) for each in NAME.findall(text)}
    assert named <= shown.keys()
    assert len(named) > 8


def test_the_dashboard_names_what_the_registry_shows_and_leaves_little_out(
    shown: dict[str, str],
) -> None:
    asked = " ".join(expression for _, expression in expressions())
    named = {family(each, shown) for each in NAME.findall(asked)}
    assert shown.keys() - named == {
        "process_start_time_seconds",  # the uptime says it
        "registry_tls_certificate_expiry_timestamp_seconds",  # an alert looks at it
        "registry_tls_certificate_expiry_days",  # an alert looks at it
        "registry_audit_lines_total",  # an alert looks at it
        "process_virtual_memory_bytes",  # nobody need look at it
        "registry_upstream_lookups_total",  # few registries have upstreams
        "registry_upstream_connected",  # few registries have upstreams
    }
    assert named <= shown.keys()


def test_the_dashboards_panels_are_told_apart_and_do_not_overlap() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    ids = [each["id"] for each in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (place["x"] + x, place["y"] + y)
            for x in range(place["w"])
            for y in range(place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24, panel["title"]
        taken |= cells
    assert all(each["description"].endswith(".") for each in panels())


def test_the_operators_page_has_every_label_of_a_target(
    client: FlaskClient,
) -> None:
    metadata = {"metrics_path": "/m?name=x"}
    client.post("/api/register", json=registration("a", metadata=metadata))
    reply = client.get("/api/sd/prometheus")
    rows = [row[0].strip("`") for row in table(PAGE.read_text(), "label")]
    real = {
        name.replace("metadata_metrics_path", "metadata_<key>").replace(
            "__param_name", "__param_<name>"
        )
        for name in json.loads(reply.data)[0]["labels"]
    }
    # That of a namespace is not there in the default one.
    assert sorted(rows) == sorted({*real, "__meta_modularity_namespace"})


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Registered]:
    """A registry whose store may have replicas, so that it shows all there is."""
    registry = Registered(store=f"sqlite:///{tmp_path / 'registry.db'}")
    yield registry
    registry.stop()


def watched(folder: Path, registry: Registered) -> str:
    """The configuration as it stands, with this registry in it and in less time."""
    rules = RULES.read_text()
    assert rules.count("for: 1m") == 2
    (folder / RULES.name).write_text(rules.replace("for: 1m", "for: 2s"))
    host = registry.url.removeprefix("http://")
    quick = CONFIG.read_text().replace("127.0.0.1:5000", host)
    assert quick.count(host) == 2 and quick.count(": 15s") == 3
    return quick.replace(": 15s", ": 1s")


def nothing_from(prometheus: Prometheus) -> set[str]:
    return {
        title
        for title, asked in expressions()
        if not prometheus.get("query", query=asked)["result"]
    }


def test_a_real_prometheus_fills_the_whole_dashboard(
    live: Registered, tmp_path: Path
) -> None:
    with (
        scraped() as service,
        running(tmp_path, watched(tmp_path, live)) as prometheus,
        requests.get(f"{live.url}/api/events", stream=True, timeout=60),
    ):

        def filled() -> bool:
            # Rates need counters that are there already and go on moving.
            live.register("a", service.place, health={"interval": 1})
            requests.get(f"{live.url}/api/capabilities/greet", timeout=5)
            requests.get(f"{live.url}/api/capabilities/nobody", timeout=5)
            return nothing_from(prometheus) == EMPTY

        live.register("a", service.place, health={"interval": 1})
        eventually(filled, seconds=60)
        assert prometheus.value('up{job="modularity-services", service="a"}') == 1
        rules = [
            rule
            for group in prometheus.get("rules")["groups"]
            for rule in group["rules"]
        ]
        assert {rule["health"] for rule in rules} == {"ok"}
        assert firing(prometheus) == set()
        live.kill()
        down = {"ModularityRegistryDown", "ModularityRegistryGone"}
        eventually(lambda: firing(prometheus) == down, seconds=60)


def firing(prometheus: Prometheus) -> set[str]:
    return {
        each["labels"]["alertname"]
        for each in prometheus.get("alerts")["alerts"]
        if each["state"] == "firing"
    }


def test_what_is_set_anywhere_in_deploy_is_a_setting() -> None:
    settings = {option.env for option in OPTIONS}
    files = [path for path in DEPLOY.rglob("*") if path.is_file()]
    for path in files:
        found = re.findall(r"\b(?:REGISTRY|HEALTH_CHECK)_[A-Z_]+\b", path.read_text())
        assert set(found) <= settings, path
    assert len(files) > 12


UNIT = DEPLOY / "systemd" / "modularity-registry.service"


def systemd_analyze(*arguments: str) -> str:
    path = program.find(("systemd-analyze",), None, "systemd")
    run = subprocess.run(
        [path, *arguments], capture_output=True, text=True, check=False, timeout=60
    )
    return run.stdout + run.stderr


def test_the_unit_is_one_and_leaves_little_open() -> None:
    complaints = [
        line
        for line in systemd_analyze("verify", str(UNIT)).splitlines()
        # Of this machine: nothing is installed there.
        if UNIT.name in line and "is not executable" not in line
    ]
    assert complaints == []
    rated = systemd_analyze("security", "--offline=true", "--threshold=15", str(UNIT))
    found = re.search(r"exposure level for \S+: ([0-9.]+)", rated)
    assert found, rated
    said = re.search(
        r"rates it ([0-9.]+) of 10", (ROOT / "docs/hardening.md").read_text()
    )
    assert said and found[1] == said[1]


def test_the_units_settings_are_settings() -> None:
    given = dict(
        line.split("=", 1)
        for line in (UNIT.parent / "modularity-registry.env").read_text().splitlines()
        if not line.startswith("#")
    )
    settings = load({}, given)
    assert settings.auth and settings.audit_file.startswith("/var/log/")
    assert set(given) <= {option.env for option in OPTIONS}


# prctl's PR_SET_MDWE: as MemoryDenyWriteExecute of the unit, for one process.
NO_NEW_CODE = """
import ctypes, os, sys
if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0):
    sys.exit(77)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def test_the_registry_runs_without_memory_that_is_written_and_run() -> None:
    port = free_port()
    given = json.dumps({"port": port})
    process = subprocess.Popen(
        [sys.executable, "-c", NO_NEW_CODE, str(PROGRAMS / "registry.py"), given],
        stderr=subprocess.DEVNULL,
    )

    def answers() -> bool:
        if process.poll() is not None:
            return True
        try:
            return requests.get(f"http://{HOST}:{port}/ready", timeout=5).ok
        except requests.ConnectionError:
            return False

    try:
        eventually(answers)
        if process.poll() == 77:
            pytest.skip("this kernel (before Linux 6.3) has no PR_SET_MDWE")
        assert process.poll() is None
    finally:
        process.terminate()
        process.wait(20)
