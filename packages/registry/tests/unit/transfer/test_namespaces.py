"""Export and import of one namespace, and of all of them."""

import json
from pathlib import Path

import pytest

from modularity_registry import transfer
from modularity_registry.stores.base import put
from modularity_registry.transfer.jsonl import BadFile, export_lines, read_documents
from support.transfer import NOW, brought, document, export_of, opened, run, url


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A store with the same id in three namespaces, and what is no service."""
    path = tmp_path / "source.db"
    with opened(path) as store:
        for key, version in (
            ("ns/team-b/services/web", "3.0.0"),
            ("ns/team-a/services/web", "2.0.0"),
            ("services/web", "1.0.0"),
        ):
            put(store, key, document("web", version=version))
        put(store, "ns/team-a/services/db", document("db"))
        put(store, "ns/team-a/tokens/ci", b"{}")
        put(store, "replicas/r-1", b"{}")
    return path


def lines(path: Path, *flags: str) -> list[bytes]:
    result = run("export", "--store", url(path), *flags)
    assert result.exit_code == 0, result.stderr
    header, *services = result.stdout_bytes.splitlines()
    assert json.loads(header)["services"] == len(services)
    assert json.loads(header)["version"] == 1
    return services


def records(path: Path) -> dict[str, bytes]:
    with opened(path) as store:
        kept = transfer.snapshot_of(store).records
    return {each.key: each.value for each in kept if "services/" in each.key}


def test_without_an_option_it_is_the_default_one_as_ever(source: Path) -> None:
    plain = [document("web", version="1.0.0")]
    assert lines(source) == lines(source, "--namespace", "default") == plain


def test_one_namespace_is_exported_as_the_default_one_is(source: Path) -> None:
    there = ("--namespace", "team-a")
    assert lines(source, *there) == [document("db"), document("web", version="2.0.0")]
    summary = run("export", "--store", url(source), *there, "--output", "/dev/null")
    assert summary.stderr == "exported 2 services of the namespace team-a\n"


def test_of_all_namespaces_each_line_but_the_default_ones_names_its_own(
    source: Path,
) -> None:
    exported = lines(source, "--all-namespaces")
    assert exported[0] == document("web", version="1.0.0")
    assert exported[1] == b'{"namespace":"team-a",' + document("db")[1:]
    places = [json.loads(line).get("namespace") for line in exported]
    assert places == [None, "team-a", "team-a", "team-b"]


def test_all_namespaces_come_back_byte_for_byte(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "target.db"
    whole = run("export", "--store", url(source), "--all-namespaces").stdout_bytes
    for expected in ("4 new, 0 replaced, 0", "0 new, 0 replaced, 4"):
        result = brought(target, whole, "--all-namespaces")
        assert f"imported into all namespaces: {expected} unchanged" in result.stderr
    assert records(target) == records(source)


def test_a_line_that_was_written_again_loses_only_its_namespace(tmp_path: Path) -> None:
    fields = json.loads(document("web", metadata={"namespace": "x", "n": 1.50}))
    again = json.dumps({**fields, "namespace": "team-a"}, indent=None).encode()
    header = b'{"format":"modularity-registry","version":1,"services":1}'
    ((key, value),) = read_documents([header, again], None).items()
    assert key == "ns/team-a/services/web"
    assert json.loads(value) == fields


def test_services_move_to_another_namespace(source: Path) -> None:
    moved = run("export", "--store", url(source), "--namespace", "team-a").stdout_bytes
    result = brought(source, moved, "--namespace", "team-c")
    assert "imported into the namespace team-c: 2 new" in result.stderr
    there, all_of_them = records(source), "ns/team-c/services/{}".format
    assert there[all_of_them("web")] == document("web", version="2.0.0")
    assert there["services/web"] == document("web", version="1.0.0")


@pytest.mark.parametrize("flags", [(), ("--namespace", "team-a")])
def test_a_file_of_all_is_not_poured_into_one(
    source: Path, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    whole = run("export", "--store", url(source), "--all-namespaces").stdout_bytes
    target = tmp_path / "target.db"
    result = brought(target, whole, *flags)
    assert result.exit_code == 1
    assert "line 3" in result.stderr and "--all-namespaces" in result.stderr
    assert not target.exists() or records(target) == {}


def test_prune_deletes_in_the_scope_alone(source: Path, tmp_path: Path) -> None:
    empty = b'{"format":"modularity-registry","version":1,"services":0}\n'
    before = records(source)
    brought(source, empty, "--prune")
    assert before.keys() - records(source).keys() == {"services/web"}
    brought(source, empty, "--prune", "--namespace", "team-a")
    assert records(source).keys() == {"ns/team-b/services/web"}
    brought(source, empty, "--prune", "--all-namespaces")
    assert records(source) == {}
    with opened(source) as store:
        left = {each.key for each in transfer.snapshot_of(store).records}
    assert left == {"ns/team-a/tokens/ci", "replicas/r-1"}


def test_the_same_id_in_two_namespaces_is_no_double_but_twice_in_one_is(
    source: Path,
) -> None:
    with opened(source) as store:
        whole = export_lines(transfer.snapshot_of(store), NOW, None)
    assert len(read_documents(whole, None)) == 4
    again = [whole[0].replace(b'"services":4', b'"services":5'), *whole[1:], whole[2]]
    with pytest.raises(BadFile, match="'db' is on line 3 already"):
        read_documents(again, None)


def test_both_options_and_bad_names_are_mistakes(source: Path) -> None:
    both = ("--namespace", "team-a", "--all-namespaces")
    result = run("export", "--store", url(source), *both)
    assert result.exit_code == 2 and "can't be used together" in result.stderr
    header = b'{"format":"modularity-registry","version":1,"services":1}'
    for name in ("Team", "a/b", ""):
        line = b'{"namespace":"%b",%b' % (name.encode(), document("web")[1:])
        with pytest.raises(BadFile, match="line 2 is not a service"):
            read_documents([header, line], None)


def test_a_default_export_can_be_imported_as_one_of_all(source: Path) -> None:
    result = brought(source, export_of(source), "--all-namespaces", "--dry-run")
    assert "would import into all namespaces: 0 new" in result.stderr
