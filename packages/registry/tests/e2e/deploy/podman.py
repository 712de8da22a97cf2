"""Podman with all of its files in one folder, and what stands in for the base image.

No image registry is asked: a Python in a small Debian takes the place of the official
image, from Debian's packages.
"""

import os
import resource
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.servers.program import find

CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
# As in the official image: `python` and pip in /usr/local, and nothing else in the way.
LIKE_THE_OFFICIAL = (
    'ln -s /usr/bin/python3 "$1/usr/local/bin/python"',
    'rm -f "$1"/usr/lib/python3*/EXTERNALLY-MANAGED',
)


class Podman:
    """Builds images and runs containers; ``folder`` holds all that it keeps."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._command = [
            str(find(["podman"], None, "podman")),
            f"--root={folder / 'storage'}",
            f"--runroot={folder / 'run'}",
            f"--tmpdir={folder / 'tmp'}",
            "--storage-driver=overlay",
            "--cgroup-manager=cgroupfs",
            f"--runtime={find(['runc'], None, 'runc')}",
        ]

    def attempt(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run one command, however it ends."""
        return subprocess.run(
            [*self._command, *arguments], capture_output=True, text=True, timeout=300
        )

    def run(self, *arguments: str) -> str:
        """Return what a command prints; fail if it does."""
        done = self.attempt(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def import_base(self, name: str, suite: str) -> None:
        """Make the image ``name``: Debian's Python of that suite, and pip."""
        bootstrap = [
            str(find(["mmdebstrap"], None, "mmdebstrap")),
            "--quiet",
            "--variant=minbase",
            "--include=python3,python3-pip,ca-certificates",
            *(f"--customize-hook={line}" for line in LIKE_THE_OFFICIAL),
        ]
        base = self._folder / "base.tar"
        in_memory = {**os.environ, "TMPDIR": str(self._folder)}
        command = [*bootstrap, suite, str(base)]
        subprocess.run(command, env=in_memory, check=True, timeout=300)
        self.run("import", "--quiet", str(base), name)
        base.unlink()

    def build(self, dockerfile: Path, context: Path, name: str) -> None:
        """Build an image, with this machine's certificates and cache of packages."""
        config = self._folder / "uv.toml"
        config.write_text("system-certs = true\n")
        cache = subprocess.check_output(["uv", "cache", "dir"], text=True).strip()
        mounts = (
            f"{CERTIFICATES}:{CERTIFICATES}:ro",
            f"{config}:/etc/uv/uv.toml:ro",
            f"{cache}:/root/.cache/uv",
        )
        self.run(
            *("build", "--quiet", "--isolation=chroot", "--network=host"),
            *("--pull-never", "--format=docker", f"--file={dockerfile}"),
            *(f"--volume={mount}" for mount in mounts),
            *(f"--tag={name}", str(context)),
        )

    def start(self, image: str, name: str, settings: Sequence[str]) -> None:
        """Start a container that may do nothing but run and write to its volumes."""
        _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
        files = min(files, 65_536)
        self.run(
            *("run", "--detach", f"--name={name}", "--network=none"),
            *("--read-only", "--read-only-tmpfs=false", "--cap-drop=all"),
            "--security-opt=no-new-privileges",
            # There is no systemd here to call it in time.
            "--health-interval=disable",
            *(f"--ulimit=nofile={files}:{files}", "--ulimit=nproc=4096:4096"),
            *(f"--env={setting}" for setting in settings),
            image,
        )


@contextmanager
def podman() -> Iterator[Podman]:
    """A Podman of its own until the end of the block; skips where there can't be one.

    Its files are in memory: dpkg waits for the disk after each of its own.
    """
    if os.geteuid() != 0:
        pytest.skip("only root may mount the layers of an image")
    # Podman wants a short path.
    folder = Path(tempfile.mkdtemp(prefix="podman-", dir="/tmp"))
    subprocess.run(["mount", "-t", "tmpfs", "podman", folder], check=True)
    try:
        engine = Podman(folder)
        try:
            yield engine
        finally:
            engine.attempt("rm", "--all", "--force", "--time=0")
    finally:
        # Podman has mounted a folder in it.
        subprocess.run(["umount", "--recursive", folder], check=True)
        folder.rmdir()
