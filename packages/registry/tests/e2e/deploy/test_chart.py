"""The chart in deploy/helm: Helm renders it, Kubernetes' schemas take the result."""

import ipaddress
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import helm_python
import kubernetes_validate  # type: ignore[import-untyped]  # has no stubs
import pytest
import requests
import yaml

from e2e.deploy.serving import serving
from e2e.docs.blocks import blocks, table
from modularity_registry import __version__
from modularity_registry.config import OPTIONS, load
from modularity_registry.network.address_policy import AddressPolicy
from support import REPOSITORY
from support.serving import HOST, free_port

CHART = REPOSITORY / "deploy" / "helm" / "modularity-registry"
KUBERNETES = kubernetes_validate.latest_version()
Values = dict[str, Any]

SECURE: Values = {
    "auth": {"tokensSecret": "tokens"},
    "tls": {"secret": "certificate"},
    "store": {"existingSecret": "store"},
}
EVERYTHING: Values = {
    **SECURE,
    "replicas": 3,
    "image": {"repository": "images.example/registry", "pullSecrets": ["images"]},
    "auth": {"anonymous": ["read"], "tokensSecret": "tokens"},
    "dns": {"enabled": True},
    "settings": {"REGISTRY_WRITE_RATE": "600/minute", "HEALTH_CHECK_INTERVAL": "10"},
    "service": {"type": "LoadBalancer", "port": 443, "annotations": {"a": "b"}},
    "probes": {"readinessPath": "/health"},
    "networkPolicy": {
        "from": [{"namespaceSelector": {}}],
        "egress": [{"to": [{"ipBlock": {"cidr": "203.0.113.0/24"}}]}],
    },
    "serviceMonitor": {
        "enabled": True,
        "labels": {"release": "prometheus"},
        "tokenSecret": {"name": "prometheus-token"},
        "tlsConfig": {"ca": {"secret": {"name": "certificate", "key": "ca.crt"}}},
    },
    "podAnnotations": {"a": "b"},
    "podLabels": {"team": "platform"},
    "nodeSelector": {"a": "b"},
    "tolerations": [{"key": "a", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "priorityClassName": "important",
}
LITTLE: Values = {
    "replicas": 1,
    "auth": {"enabled": False},
    "podDisruptionBudget": {"enabled": False},
    "networkPolicy": {"enabled": False},
    "serviceAccount": {"name": "mine"},
}
PAGE = (REPOSITORY / "docs" / "kubernetes.md").read_text()
[EXAMPLE] = [block.text for block in blocks(PAGE) if block.language == "yaml"]
SETS = {
    "default": {},
    "secure": SECURE,
    "everything": EVERYTHING,
    "little": LITTLE,
    "the page's": yaml.safe_load(EXAMPLE),
}


@pytest.fixture(scope="module")
def chart() -> Iterator[helm_python.Chart]:
    with helm_python.Chart.load(CHART) as loaded:
        yield loaded


def rendered(chart: helm_python.Chart, values: Values) -> dict[str, dict[str, Any]]:
    """Return what Helm would send to Kubernetes, by its kind."""
    files = chart.render(values, name="demo", namespace="prod")
    documents = (
        yaml.safe_load(text) for name, text in files.items() if name.endswith(".yaml")
    )
    return {each["kind"]: each for each in documents if each}


def container(documents: dict[str, dict[str, Any]]) -> dict[str, Any]:
    [found] = documents["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("name", SETS)
def test_helm_and_kubernetes_take_it(chart: helm_python.Chart, name: str) -> None:
    report = helm_python.lint(CHART, SETS[name], strict=True)
    assert {each["error"] for each in report["messages"]} <= {"icon is recommended"}
    assert report["errors"] == []
    for kind, document in rendered(chart, SETS[name]).items():
        assert document["metadata"]["name"].startswith("demo-modularity-registry")
        # One of the Prometheus Operator's; a test below looks at it.
        if kind != "ServiceMonitor":
            kubernetes_validate.validate(document, KUBERNETES, strict=True)


def test_what_is_switched_off_is_not_there(chart: helm_python.Chart) -> None:
    always = {"Deployment", "Service", "Pod"}
    default = {"Secret", "ServiceAccount", "PodDisruptionBudget", "NetworkPolicy"}
    assert rendered(chart, {}).keys() == always | default
    assert rendered(chart, LITTLE).keys() == always | {"Secret"}
    everything = always | default - {"Secret"} | {"ServiceMonitor"}
    assert rendered(chart, EVERYTHING).keys() == everything


def test_pods_have_no_privileges(chart: helm_python.Chart) -> None:
    documents = rendered(chart, {})
    for pod in (documents["Deployment"]["spec"]["template"], documents["Pod"]):
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["containers"][0]["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_the_service_and_its_friends_choose_the_registrys_pods_alone(
    chart: helm_python.Chart,
) -> None:
    documents = rendered(chart, EVERYTHING)
    selector = documents["Service"]["spec"]["selector"]
    deployment = documents["Deployment"]["spec"]
    for kind, key in (
        ("Deployment", "selector"),
        ("PodDisruptionBudget", "selector"),
        ("NetworkPolicy", "podSelector"),
        ("ServiceMonitor", "selector"),
    ):
        assert documents[kind]["spec"][key]["matchLabels"] == selector
    assert selector.items() <= deployment["template"]["metadata"]["labels"].items()
    assert not selector.items() <= documents["Pod"]["metadata"]["labels"].items()


def environment(documents: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Return a container's variables, with a URL in place of the Secret's."""
    given = {
        each["name"]: each.get("value", "etcd://etcd:2379")
        for each in container(documents)["env"]
    }
    return {"REGISTRY_HOST": "0.0.0.0", **given}


@pytest.mark.parametrize("name", SETS)
def test_the_registry_takes_the_settings(chart: helm_python.Chart, name: str) -> None:
    documents = rendered(chart, SETS[name])
    settings = load({}, environment(documents))
    assert settings.auth is (name != "little")
    open_ports = container(documents)["ports"]
    ports = {each["name"]: each["containerPort"] for each in open_ports}
    assert ports["http"] == settings.port
    assert ports.get("dns", 0) == ports.get("dns-tcp", 0) == settings.dns_port
    paths = {settings.tokens_file, settings.tls_cert, settings.tls_key} - {"off"}
    mounts = [each["mountPath"] for each in container(documents)["volumeMounts"]]
    assert all(str(Path(path).parent) in mounts for path in paths)


def test_its_password_is_in_a_secret_and_a_new_one_starts_new_pods(
    chart: helm_python.Chart,
) -> None:
    first, second = (
        rendered(chart, {"store": {"url": f"etcd://me:{word}@etcd"}})
        for word in ("one", "two")
    )
    assert first["Secret"]["stringData"] == {"url": "etcd://me:one@etcd"}
    assert "one@" not in json.dumps(first["Deployment"])
    assert first["Deployment"] != second["Deployment"]


def probes(documents: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    kinds = ("startupProbe", "livenessProbe", "readinessProbe")
    return [container(documents)[kind]["httpGet"] for kind in kinds]


def test_probes_need_no_token_and_prometheus_needs_one(
    chart: helm_python.Chart, tmp_path: Path
) -> None:
    documents = rendered(chart, {"serviceMonitor": {"enabled": True}})
    [endpoint] = documents["ServiceMonitor"]["spec"]["endpoints"]
    port, log = free_port(), tmp_path / "log"
    here = {"REGISTRY_HOST": HOST, "REGISTRY_PORT": str(port)}
    settings = {**environment(documents), **here, "REGISTRY_STORE": "memory://"}

    def status(path: str, token: str = "") -> int:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            url = f"http://{HOST}:{port}{path}"
            return requests.get(url, headers=headers, timeout=5).status_code
        except requests.ConnectionError:
            return 0

    with serving(log, settings) as program:
        paths = [asked["path"] for asked in probes(documents)]
        program.wait_until(lambda: {status(path) for path in paths} == {200})
        assert status(endpoint["path"]) == 401
        [first_token] = re.findall(r"mreg_\S+", log.read_text())
        assert status(endpoint["path"], first_token) == 200


def test_all_speak_tls_when_the_registry_does(chart: helm_python.Chart) -> None:
    documents = rendered(chart, EVERYTHING)
    assert {each["scheme"] for each in probes(documents)} == {"HTTPS"}
    [endpoint] = documents["ServiceMonitor"]["spec"]["endpoints"]
    assert endpoint["scheme"] == "https"
    assert endpoint["authorization"]["credentials"] == {
        "name": "prometheus-token",
        "key": "token",
    }
    [test] = documents["Pod"]["spec"]["containers"]
    assert test["command"][-1] == "https://demo-modularity-registry:443/ready"


def test_the_job_has_the_name_that_the_alerts_know(chart: helm_python.Chart) -> None:
    documents = rendered(chart, EVERYTHING)
    label = documents["ServiceMonitor"]["spec"]["jobLabel"]
    job = documents["Service"]["metadata"]["labels"][label]
    alerts = (REPOSITORY / "deploy" / "prometheus" / "alerts.yml").read_text()
    assert f'job="{job}"' in alerts


def test_the_registry_reaches_what_its_address_policy_allows(
    chart: helm_python.Chart,
) -> None:
    names, places = rendered(chart, {})["NetworkPolicy"]["spec"]["egress"]
    assert {each["port"] for each in names["ports"]} == {53}
    networks = {ipaddress.ip_network(each["ipBlock"]["cidr"]) for each in places["to"]}
    assert networks == set(AddressPolicy.parse("private").networks)


def test_a_pod_has_the_time_that_the_registry_takes_to_stop(
    chart: helm_python.Chart,
) -> None:
    documents = rendered(chart, {})
    pause = container(documents)["lifecycle"]["preStop"]["sleep"]["seconds"]
    grace = documents["Deployment"]["spec"]["template"]["spec"][
        "terminationGracePeriodSeconds"
    ]
    # docs/operating.md: it ends within five seconds.
    assert grace >= pause + 5


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"replicaCount": 3}, "'replicaCount' not allowed"),
        ({"replicas": "3"}, "got string, want integer"),
        ({"auth": {"enable": True}}, "'enable' not allowed"),
        ({"settings": {"REGISTRY_WRITE_RAET": "1/second"}}, "not allowed"),
        ({"settings": {"REGISTRY_MAX_SERVICES": 5000}}, "got number, want string"),
        ({"settings": {"REGISTRY_HOST": "127.0.0.1"}}, "not allowed"),
        ({"service": {"port": 70_000}}, "maximum"),
        ({"probes": {"readinessPath": "/"}}, "must be one of"),
        ({"store": {"url": "etcd"}}, "does not match pattern"),
        ({"store": {"url": ""}}, "replicas need a store"),
        ({"store": {"url": "memory://"}}, "replicas can't share this store"),
        ({"dns": {"enabled": True}}, "add read to auth.anonymous"),
        (
            {"auth": {"enabled": False, "anonymous": ["read"]}},
            "no effect without auth.enabled",
        ),
    ],
)
def test_mistakes_are_refused(
    chart: helm_python.Chart, values: Values, reason: str
) -> None:
    with pytest.raises(helm_python.HelmError) as refused:
        chart.render(values, name="demo")
    assert reason in str(refused.value)


def test_every_setting_can_be_given_in_one_way(chart: helm_python.Chart) -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    extra = set(schema["properties"]["settings"]["properties"])
    fixed = {"REGISTRY_HOST", "REGISTRY_PORT", "REGISTRY_TLS_CLIENT_CA"}
    own = set(environment(rendered(chart, EVERYTHING))) - set(EVERYTHING["settings"])
    assert extra == {option.env for option in OPTIONS} - own - fixed


def test_every_value_is_explained() -> None:
    lines = (CHART / "values.yaml").read_text().splitlines()
    schema = json.loads((CHART / "values.schema.json").read_text())["properties"]
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert values.keys() == schema.keys() - {"global"}
    for name, value in values.items():
        at = next(n for n, line in enumerate(lines) if line.startswith(f"{name}:"))
        assert "# " in "".join(lines[at - 1 : at + 2 : 2]), name
        if schema[name].get("properties") and isinstance(value, dict):
            assert value.keys() <= schema[name]["properties"].keys()


def test_the_page_names_values_with_their_defaults() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    for names, default, _ in table(PAGE, "value"):
        for name in re.findall("`([^`]+)`", names):
            found = values
            for part in name.split("."):
                found = found[part]
            shown = json.dumps(found).strip('"')
            assert default.strip("`") == shown or found in ("", {}), name


def test_the_charts_version_is_the_registrys(chart: helm_python.Chart) -> None:
    assert chart.metadata["appVersion"] == __version__
    image = container(rendered(chart, {}))["image"]
    assert image == f"modularity-registry:{__version__}"
