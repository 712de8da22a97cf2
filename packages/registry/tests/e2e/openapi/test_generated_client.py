"""A client that others' programs generate from the OpenAPI document works."""

import os
import subprocess
import sys
from pathlib import Path

import requests

from support import PROGRAMS
from support.servers.registry import Registered

PROGRAM = PROGRAMS / "generated_client.py"

EXPECTED = """\
registered a
A eu 4 None
1 ['a']
a
[('a', 1)]
unregistered
service_not_found
"""


def test_a_generated_client_for_python_works(tmp_path: Path) -> None:
    registry = Registered()
    try:
        document = requests.get(f"{registry.url}/openapi.json", timeout=10).text
        tmp_path.joinpath("openapi.json").write_text(document)
        # Without formatting it, which nobody reads here.
        tmp_path.joinpath("config.yaml").write_text("post_hooks: []\n")
        command = ["generate", "--path", "openapi.json", "--config", "config.yaml"]
        generated = subprocess.run(
            [sys.executable, "-m", "openapi_python_client", *command],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert generated.returncode == 0, generated.stdout
        assert "Warning" not in generated.stdout, generated.stdout
        generated_package = tmp_path / "modularity-registry-client"
        used = subprocess.run(
            [sys.executable, str(PROGRAM), registry.url],
            env={**os.environ, "PYTHONPATH": str(generated_package)},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert used.stdout == EXPECTED, used.stderr
    finally:
        registry.stop()
