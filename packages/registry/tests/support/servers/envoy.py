"""Envoy, with the configurations of its page in the documentation."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests
import yaml

from e2e.docs.blocks import blocks
from support.servers import program
from support.servers.program import Program
from support.serving import HOST, free_port

PAGE = Path(__file__).parents[5] / "docs" / "integrations" / "envoy.md"
ADS, REST, GRPC = "# envoy.yaml", "# envoy-rest.yaml", "xds_servers"


def find() -> Path:
    """Return Envoy's program; skips the test if there is none."""
    return program.find(["envoy"], ("envoy", "_bin"), "envoy")


def documented(mark: str) -> dict[str, Any]:
    """Return the file on the page that has this mark."""
    (text,) = [block.text for block in blocks(PAGE.read_text()) if mark in block.text]
    content: dict[str, Any] = yaml.safe_load(text)  # JSON is YAML as well.
    return content


def configuration(
    mark: str, port: int, node: Mapping[str, Any], api_type: str = ""
) -> dict[str, Any]:
    """Return one of the page's, with a registry at ``port`` and another node."""
    content = documented(mark)
    content["node"].update(node)
    (cluster,) = content["static_resources"]["clusters"]
    (endpoint,) = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
    endpoint["endpoint"]["address"]["socket_address"]["port_value"] = port
    if api_type:
        content["dynamic_resources"]["ads_config"]["api_type"] = api_type
    return content


class Envoy(Program):
    """An Envoy that runs, with its outbound listener at ``egress``."""

    number = 0

    def __init__(
        self, folder: Path, mark: str, port: int, name: str, **changes: Any
    ) -> None:
        self.name, self.egress, self.admin = name, free_port(), free_port()
        node = {"id": name, "metadata": {"egress": self.egress}}
        node.update(changes.pop("node", {}))
        content = configuration(mark, port, node, **changes)
        content["admin"]["address"]["socket_address"]["port_value"] = self.admin
        config = folder / f"{name}.json"
        config.write_text(json.dumps(content))
        options = ["--concurrency", "1", "--use-dynamic-base-id", "-l", "warn"]
        super().__init__(
            [find(), "-c", config, *options],
            folder / f"{name}.log",
        )

    @property
    def url(self) -> str:
        """Where capabilities are called."""
        return f"http://{HOST}:{self.egress}"

    def is_live(self) -> bool:
        """Say whether it answers at its own port."""
        try:
            url = f"http://{HOST}:{self.admin}/ready"
            return requests.get(url, timeout=5).status_code == 200
        except requests.ConnectionError:
            return False

    def hosts(self, cluster: str) -> int:
        """Return how many endpoints of a cluster it knows."""
        url = f"http://{HOST}:{self.admin}/clusters?format=json"
        statuses = requests.get(url, timeout=20).json().get("cluster_statuses", [])
        return sum(
            len(status.get("host_statuses", []))
            for status in statuses
            if status["name"] == cluster
        )
