"""nginx in one process, with all of its files in a folder of the test."""

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


def command(folder: Path, servers: str) -> list[str | Path]:
    """Write the configuration with these ``server`` blocks; return how to run it."""
    tool = program.find(["nginx"], None, "nginx")
    config = folder / "nginx.conf"
    config.write_text(MAIN.format(folder=folder, servers=servers))
    return [tool, "-p", folder, "-c", config, "-e", "stderr"]
