"""The lines of an export: every value survives, and what is wrong is named."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modularity_registry import schema, transfer
from modularity_registry.catalog import documents
from modularity_registry.model.service import Drain, Fault, Service
from modularity_registry.schema.patterns import is_blank
from modularity_registry.stores.memory import MemoryStore
from modularity_registry.transfer.jsonl import Outline, export_lines, read_documents
from support.registry import registration
from support.transfer import (
    HEADER,
    NOW,
    bring,
    brought,
    document,
    export_of,
    exported,
    fill,
    lines_of,
    opened,
)

_texts = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20
)
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _texts,
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=8,
).filter(lambda value: "Infinity" not in json.dumps(value))
_names = (
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1)
    .map(lambda text: text[:256])
    .filter(lambda text: not is_blank(text))
)
_moments = st.datetimes(min_value=datetime(2000, 1, 1), timezones=st.just(UTC))
_faults = st.builds(
    Fault, st.sampled_from(["check", "lease", "report"]), _texts, _moments
)
_bodies = st.fixed_dictionaries(
    {
        "name": _names,
        "capabilities": st.lists(st.sampled_from("abcd"), unique=True),
        "metadata": st.dictionaries(_texts, _values, max_size=4),
    },
    optional={
        "version": _names.map(lambda text: text[:128]),
        "weight": st.integers(0, 65_535),
        "priority": st.integers(0, 65_535),
        "ttl": st.none() | st.floats(1, 604_800),
        "health": st.sampled_from([{}, {"path": "/x", "interval": 5, "timeout": 0.1}]),
    },
)


@st.composite
def _services(draw: st.DrawFn) -> Service:
    body = registration(draw(st.sampled_from("abcdefgh")), version=..., metadata=...)
    said = json.dumps(body | draw(_bodies)).encode()
    return Service(
        schema.parse_registration(said),
        draw(_moments),
        draw(_moments),
        tuple(draw(st.lists(_faults, max_size=3))),
        draw(st.none() | st.builds(Drain, _texts, _moments)),
        draw(st.sampled_from(["", "weather-team", "key:" + "0a" * 32])),
        warnings=tuple(draw(st.lists(_faults, max_size=2))),
    )


@given(st.lists(_services(), max_size=5))
def test_every_value_survives(services: list[Service]) -> None:
    first, second = MemoryStore(), MemoryStore()
    fill(first, *map(documents.encode, services))
    snapshot = transfer.snapshot_of(first)
    bring(second, export_lines(snapshot, NOW))
    assert exported(second) == exported(first)
    assert {each.key: each.value for each in snapshot.records} == {
        each.key: each.value for each in transfer.snapshot_of(second).records
    }


@given(services=st.lists(_services(), max_size=5))
@settings(max_examples=10)
def test_every_value_survives_a_file(
    services: list[Service], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("files")
    with opened(folder / "a.db") as store:
        fill(store, *map(documents.encode, services))
    assert brought(folder / "b.db", export_of(folder / "a.db")).exit_code == 0
    again = export_of(folder / "b.db").partition(b"\n")[2]
    assert again == export_of(folder / "a.db").partition(b"\n")[2]


def test_metadata_stays_as_it_is_written() -> None:
    raw = (
        b'{"z":1e5,"a":123456789012345678901234567890,"b":[0.10,-0.0],'
        b'"\\u00e9":"\xc3\xa9\xe2\x80\xa8","m":{"y":1,"x":2}}'
    )
    whole = document(metadata={}).replace(b'"metadata":{}', b'"metadata":' + raw)
    first, second = MemoryStore(), MemoryStore()
    fill(first, whole)
    bring(second, export_lines(transfer.snapshot_of(first), NOW))
    assert transfer.snapshot_of(second).records[0].value == whole


def test_a_reformatted_line_is_the_same_service() -> None:
    spaced = json.dumps(json.loads(document()), indent=None).encode() + b"\r\n"
    assert list(read_documents([msgspec.json.encode(HEADER), b"\n", spaced])) == [
        "services/hello-service"
    ]
    assert read_documents([msgspec.json.encode(HEADER), spaced]) == {
        "services/hello-service": document()
    }


def test_a_line_has_the_fields_of_a_service() -> None:
    assert [each.name for each in msgspec.structs.fields(Outline)] == [
        each.name for each in msgspec.structs.fields(Service)
    ]


def _edited(**changes: Any) -> bytes:
    return msgspec.json.encode(json.loads(document("x")) | changes)


def _said(**changes: Any) -> bytes:
    body = registration("x", **changes)
    return msgspec.json.encode(json.loads(document("x")) | {"registration": body})


FAULT = {"source": "check", "reason": "", "at": "2026-01-01T00:00:00Z"}
BAD_LINES: dict[str, tuple[bytes, str]] = {
    "not JSON": (b'{"registration": ', "not JSON"),
    "another JSON": (b"[]", "not a service"),
    "text after it": (document("x") + b" x", "not JSON"),
    "not UTF-8": (document("x").replace(b"Hello", b"\xff"), "UTF-8"),
    "a second header": (msgspec.json.encode(HEADER), "not a service"),
    "twice": (document("a"), "'a' is on line 2 already"),
    "no times": (b'{"registration":{"id":"x"}}', "not a service"),
    "local time": (_edited(since="2026-01-01T00:00:00"), "not in UTC"),
    "other zone": (_edited(registered_at="2026-01-01T00:00:00+02:00"), "not in UTC"),
    "a fault's zone": (_edited(faults=[FAULT | {"at": "2026-01-01T00:00"}]), "line 3"),
    "unknown fault": (_edited(faults=[FAULT | {"source": "x"}]), "faults"),
    "fault's field": (_edited(faults=[FAULT | {"by": "me"}]), "`by`"),
    "an owner": (_edited(owner="Not A Name"), "owner"),
    "an owner's line end": (_edited(owner="team\n"), "owner"),
    "an instance's line end": (_edited(instances=["a\n"]), "instances"),
    "a namespace's line end": (_edited(namespace="blue\n"), "namespace"),
    "a secret": (_said(owner_key="a-long-and-secret-text"), "an owner_key"),
    "unknown field": (_edited(drian=None), "`drian`"),
    "misspelled": (_said(wieght=3), "wieght is not a known field"),
    "id": (_said(id="a b"), "id must be 1-128"),
    "weight": (_said(weight=-1), "weight must be at least 0"),
    "location": (_said(location="nowhere"), "location"),
    "capability": (_said(capabilities=["a", "b", "a"]), "a capability twice"),
    "metadata": (_said(metadata={"a": "x" * 17_000}), "metadata must be at most"),
    "a key twice": (
        document("x").replace(b'"region":', b'"runtime":'),
        "'runtime' appears twice",
    ),
    "deep": (b'{"registration":' + b"[" * 10**6 + b"]" * 10**6 + b"}", "deeply"),
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_a_bad_line_is_named_and_nothing_is_written(name: str, tmp_path: Path) -> None:
    line, reason = BAD_LINES[name]
    header = msgspec.json.encode(HEADER | {"services": 3})
    lines = b"\n".join([header, document("a"), line, document("c")])
    result = brought(tmp_path / "target.db", lines)
    assert result.exit_code == 1
    assert "line 3" in result.stderr and reason in result.stderr
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (b"", "the file is empty"),
        (b"\n \n", "the file is empty"),
        (document(), "line 1 is not the header"),
        (b"SQLite format 3\0", "line 1 is not the header"),
        (b'{"format":"other","version":1,"services":0}', "line 1 is not the header"),
        (msgspec.json.encode(HEADER | {"version": 2}), "version 2"),
        (msgspec.json.encode(HEADER | {"services": -1}), "line 1 is not the header"),
        (msgspec.json.encode(HEADER), "line 1 is the last one, with 0 services"),
        (
            b"\n".join([msgspec.json.encode(HEADER), document("a"), document("b")]),
            "line 3 is the last one, with 2 services so far, but line 1 promises 1",
        ),
    ],
)
def test_what_is_no_whole_export_is_refused(
    lines: bytes, reason: str, tmp_path: Path
) -> None:
    result = brought(tmp_path / "target.db", lines)
    assert result.exit_code == 1
    assert reason in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_any_cut_is_noticed() -> None:
    lines = b"\n".join(lines_of(3))
    for end in range(0, len(lines), 7):
        with pytest.raises(transfer.BadFile):
            read_documents(lines[:end].splitlines(keepends=True))


def test_checks_move_with_their_secrets_and_their_faults() -> None:
    checks = [
        {"name": "db", "kind": "http", "headers": {"X-Key": "s3cret"}},
        {"name": "works", "kind": "module", "invoke": {"capability": "greet"}},
    ]
    body = schema.encode(registration(checks=checks))
    fault = Fault("check", "check 'db': refused", NOW, "db")
    service = Service(schema.parse_registration(body), NOW, NOW, faults=(fault,))
    key, line = documents.key_of("hello-service"), documents.encode(service)
    moved = read_documents([_header_of_one(), line + b"\n"])
    assert documents.decode(key, moved[key]) == service


def _header_of_one() -> bytes:
    header = {"format": "modularity-registry", "version": 1, "services": 1}
    return json.dumps(header).encode() + b"\n"
