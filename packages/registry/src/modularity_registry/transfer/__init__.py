"""Export and import: a store's services, splits and intentions, by a file."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import urlsplit

from modularity_registry import config
from modularity_registry.clock import Clock, SystemClock
from modularity_registry.errors import BadSetting
from modularity_registry.stores import check_store_url, file_of, open_store
from modularity_registry.stores.base import Snapshot, snapshot_of
from modularity_registry.stores.parts import whole_key
from modularity_registry.transfer.import_plan import (
    Advance,
    ImportStopped,
    Plan,
    Step,
    carry_out,
    plan_of,
)
from modularity_registry.transfer.jsonl import (
    BadFile,
    Scope,
    counted,
    export_lines,
    exported_keys,
    is_header,
    read_documents,
)
from modularity_registry.transfer.original import read_original
from modularity_registry.transfer.whole_files import STREAM, reading, writing

__all__ = [
    "BadFile",
    "ImportStopped",
    "Outcome",
    "Scope",
    "begin_epoch",
    "export_services",
    "import_services",
    "snapshot_of",
    "store_url",
]

_NOTHING: Final = Snapshot((), 0)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of an import; ``overtaken`` counts what others wrote meanwhile."""

    summary: str
    overtaken: int = 0


def export_services(
    url: str, output: str, clock: Clock | None = None, scope: Scope = ""
) -> str:
    """Write what a store holds to ``output`` and return a summary.

    ``scope`` is the namespace: empty for the default one, None for all of them. A file
    is written completely or not at all. Raises `BadSetting` for a store that does not
    exist, `StoreError` if it fails, `BadFile` if the file can't be written.
    """
    file = file_of(url)
    if file is not None:
        _require_source(file, output)
    with closing(open_store(url)) as store:
        snapshot = snapshot_of(store)
    lines = export_lines(snapshot, (clock or SystemClock()).now(), scope)
    with writing(output) as stream, _progress("exporting", len(lines) - 1) as advance:
        for line in lines:
            stream.write(line)
            advance()
    return f"exported {counted(exported_keys(snapshot, scope))}{_where(scope)}"


def import_services(
    url: str,
    source: str,
    dry_run: bool = False,
    prune: bool = False,
    scope: Scope = "",
) -> Outcome:
    """Write what is in ``source`` to the store; checks all of it first.

    ``scope`` is the namespace that they go to: empty for the default one, None for the
    one of each. ``prune`` deletes what only the store has there; ``dry_run`` writes
    nothing. Raises `BadFile`, `BadSetting`, `StoreError`, and `ImportStopped` after a
    part was written.
    """
    with reading(source) as stream:
        documents = _read(stream, scope)
    file = file_of(url)
    if dry_run and file is not None and not file.exists():
        # Opening it would create it, which is a write as well.
        plan = plan_of(_NOTHING, documents, prune, scope)
        return Outcome(_summary(f"would import{_where(scope, 'into')}", plan))
    with closing(open_store(url)) as store:
        plan = plan_of(snapshot_of(store), documents, prune, scope)
        if dry_run:
            return Outcome(_summary(f"would import{_where(scope, 'into')}", plan))
        with _progress("importing", len(plan.steps)) as advance:
            overtaken = carry_out(store, plan.steps, advance)
    verb = f"imported{_where(scope, 'into')}"
    return Outcome(_summary(verb, plan, overtaken), len(overtaken))


def _where(scope: Scope, preposition: str = "of") -> str:
    """Return where the services of a summary are; empty for the default namespace."""
    if scope is None:
        return f" {preposition} all namespaces"
    return f" {preposition} the namespace {scope}" if scope else ""


def _read(stream: BinaryIO, scope: Scope) -> dict[str, bytes]:
    """Return the documents in an export, or in what the original registry saved."""
    first = stream.readline()
    if is_header(first):
        return read_documents(chain([first], stream), scope)
    data = first + stream.read()
    original = read_original(data)
    if original is None:
        return read_documents(data.splitlines(True), scope)
    return {whole_key(scope or "", key): each for key, each in original.items()}


def begin_epoch(url: str) -> str:
    """Begin a new epoch in the store, and return it.

    Raises `BadSetting` for a store that does not exist, `StoreError` if it fails.
    """
    file = file_of(url)
    if file is not None:
        _require_file(file)
    with closing(open_store(url)) as store:
        return store.begin_epoch()


def store_url(flag: str | None, environ: Mapping[str, str]) -> str:
    """Return the URL of the store: ``flag``, else ``REGISTRY_STORE``, else the file's.

    Raises `BadSetting` if there is none, or it is memory://.
    """
    name, url = config.find("store", environ) if flag is None else ("--store", flag)
    if not url:
        raise BadSetting(
            "no store given: add --store, for example --store sqlite:///registry.db, or"
            " set REGISTRY_STORE (a registry without them uses memory://, which no"
            " other process can reach)"
        )
    _require_readable(name, url)
    if urlsplit(url).scheme == "memory":
        raise BadSetting(
            f"{name}: memory:// lives within one process, so this command can't reach"
            " it; start the registry with a store that lasts, for example --store"
            " sqlite:///registry.db, let its services register there, and give that"
            " store here as well"
        )
    return url


def _summary(verb: str, plan: Plan, overtaken: tuple[Step, ...] = ()) -> str:
    kinds = [step.kind for step in plan.steps]
    overtaken_kinds = [step.kind for step in overtaken]
    new, replaced, pruned = (
        kinds.count(kind) - overtaken_kinds.count(kind)
        for kind in ("new", "replaced", "pruned")
    )
    summary = (
        f"{verb}: {new:,} new, {replaced:,} replaced, {plan.unchanged:,} unchanged,"
        f" {pruned:,} pruned"
    )
    if not plan.steps:
        summary += "; nothing to write"
    if plan.extra:
        summary += f"\nkept: {counted(plan.extra)} that only the store has"
        summary += " (--prune deletes them)"
    if overtaken:
        kept = counted([step.key for step in overtaken])
        summary += f"\nkept: {kept} that changed meanwhile;"
        summary += " run it again to replace them"
    return summary


def _require_readable(name: str, url: str) -> None:
    try:
        urlsplit(url)
    except ValueError:
        # Its message may repeat the part with the password.
        raise BadSetting(
            f"{name} is not a valid URL: its host or port is malformed"
        ) from None
    try:
        check_store_url(url)
    except BadSetting as error:
        raise BadSetting(f"{name}: {error.detail}") from None


def _require_file(file: Path) -> None:
    if not file.exists():
        raise BadSetting(
            f"there is no store file {file.absolute()}; correct the path (three"
            " slashes: from this folder; four: from the root)"
        )


def _require_source(file: Path, output: str) -> None:
    _require_file(file)
    if output != STREAM and os.path.realpath(output) == os.path.realpath(file):
        raise BadFile(f"{output} is the store itself; write the export to another file")


@contextmanager
def _progress(label: str, total: int) -> Iterator[Advance]:
    """Show a progress bar on a terminal; elsewhere only the summary is printed."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    # Imported late: a pipe needs none of it.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total)
        yield lambda: bar.advance(task)
