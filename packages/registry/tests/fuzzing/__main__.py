"""``python -m fuzzing [inputs] [--target NAME]``: has Atheris look for broken promises.

Each target gets so many inputs, in a process of its own. New inputs that reach new code
are kept in ``.fuzz/<target>`` and are where the next run begins, beside the corpus. An
input that breaks a promise is written to ``.fuzz`` as ``<target>-crash-...``; give its
path as ``--input`` to see it again, and add it to the corpus once it is mended.
``--minimise`` adds to the corpus the shortest inputs that reach what it does not yet.
"""

import argparse
import random
import subprocess
import sys
from pathlib import Path

from fuzzing.targets import TARGETS, load

CORPUS = Path(__file__).parent / "corpus"
FOUND = Path(".fuzz")
LONGEST = 1_200
"""Bytes of an input."""


def main() -> int:
    """Run the targets, one after the other; return the number that failed."""
    parser = argparse.ArgumentParser(prog="just fuzz", description="Fuzz with Atheris.")
    parser.add_argument("inputs", type=int, nargs="?", default=1_000_000)
    parser.add_argument("--target", choices=TARGETS, action="append")
    parser.add_argument("--seed", type=int, default=random.randrange(1, 1 << 31))
    parser.add_argument("--input", type=Path, help="replay this one")
    parser.add_argument("--minimise", action="store_true")
    options = parser.parse_args()
    if options.input is not None:
        for name in options.target or TARGETS:
            load(name)(options.input.read_bytes())
        return 0
    failed = 0
    for name in options.target or TARGETS:
        print(f"{name}: {TARGETS[name]}; --seed {options.seed}", flush=True)
        arguments = _arguments(name, options)
        command = [sys.executable, "-m", "fuzzing.run", name, *arguments]
        failed += subprocess.run(command, check=False).returncode != 0
    return failed


def _arguments(name: str, options: argparse.Namespace) -> list[str]:
    """Return libFuzzer's arguments."""
    corpus, found = CORPUS / name, FOUND / name
    found.mkdir(parents=True, exist_ok=True)
    if options.minimise:
        return ["-set_cover_merge=1", str(corpus), str(found)]
    words = corpus.with_suffix(".dict")
    return [
        f"-runs={options.inputs}",
        f"-seed={options.seed}",
        f"-max_len={LONGEST}",
        f"-artifact_prefix={FOUND / name}-",
        "-timeout=10",
        "-rss_limit_mb=2048",
        "-print_final_stats=1",
        *([f"-dict={words}"] if words.exists() else []),
        str(found),
        str(corpus),
    ]


if __name__ == "__main__":
    sys.exit(main())
