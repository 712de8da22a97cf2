"""``python -m mutation [part ...]``: which changes of the code does no test notice?

`modules.toml` says which modules make up a part, and which tests are theirs;
`survivors.toml` has the mutants that no test need kill, with the reason. Prints every
other mutant that survives. Ends with 1 if fewer than 90 % of a
part's other mutants are killed.

The libraries are imported once; each mutant runs in a fork. Cosmic Ray's own runner
starts pytest for each, which takes longer than the tests do.
"""

import argparse
import importlib
import sys
import time
import tomllib
from pathlib import Path
from random import Random
from typing import Any

from mutation.mutants import Mutant, mutants_of
from mutation.trial import passes

HERE = Path(__file__).parent
TESTS = HERE.parent
PACKAGE = "modularity_registry"
ROOT = TESTS.parent / "src" / PACKAGE
PROMISE = 0.9


def main() -> int:
    """Try the parts, one after the other."""
    parts: dict[str, Any] = tomllib.loads((HERE / "modules.toml").read_text())
    parser = argparse.ArgumentParser(prog="just mutants")
    parser.add_argument("parts", nargs="*", metavar="part", help=", ".join(parts))
    parser.add_argument("--sample", type=int, help="try so many of a part, by chance")
    parser.add_argument("--seed", type=int, default=1, help="decides which")
    options = parser.parse_args()
    names = options.parts or list(parts)
    _load_libraries()
    kept = [
        _kept(name, parts[name], options.sample, Random(options.seed)) for name in names
    ]
    return int(not all(kept))


def _load_libraries() -> None:
    """Import what the registry imports, and forget the registry: a fork is quick then.

    A module that has the mutated one's names would keep them as they were.
    """
    importlib.import_module(f"{PACKAGE}.serve")
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


def _kept(name: str, part: dict[str, Any], most: int | None, rng: Random) -> bool:
    """Try a part's mutants; say whether it keeps the promise."""
    tests = [str(TESTS / test) for test in part["tests"]]
    explained = tomllib.loads((HERE / "survivors.toml").read_text()).get(name, {})
    sources = {
        module: (ROOT / f"{module}.py").read_text() for module in part["modules"]
    }
    mutants = [(m, mutant) for m in sources for mutant in mutants_of(sources[m])]
    count = len(mutants)
    if most is not None and most < count:
        mutants = rng.sample(mutants, most)
    began, survivors, equivalent = time.monotonic(), 0, 0
    limits = {m: _seconds(m, sources[m], tests) for m in sources}
    for module, mutant in mutants:
        if _passes(module, mutant.source, tests, limits[module]):
            survivors += 1
            equivalent += mutant.change in explained
            _report(module, mutant, explained)
    killed = len(mutants) - survivors
    print(
        f"{name}: {count} mutants, {len(mutants)} tried, {killed} killed,"
        f" {equivalent} others explained, in {time.monotonic() - began:.0f} s",
        flush=True,
    )
    return killed >= PROMISE * (len(mutants) - equivalent)


def _passes(module: str, source: str, tests: list[str], seconds: float) -> bool:
    dotted = f"{PACKAGE}.{module.replace('/', '.')}"
    return passes(dotted, ROOT / f"{module}.py", source, tests, seconds)


def _seconds(module: str, source: str, tests: list[str]) -> float:
    """Return how long a mutant may take: several times what the tests do without."""
    began = time.monotonic()
    if not _passes(module, source, tests, 600):
        sys.exit(f"the tests of {module} fail without any mutant")
    return 10 + 4 * (time.monotonic() - began)


def _report(module: str, mutant: Mutant, explained: dict[str, str]) -> None:
    reason = explained.get(mutant.change, "NOT EXPLAINED")
    print(f"{module}.py:{mutant.line}: {mutant.change}\n    {reason}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
