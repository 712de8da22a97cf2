"""What templates can ask, and what their author is told of mistakes."""

from pathlib import Path

import pytest

from modularity_registry.cli.proxies.template import Template, TemplateFailed, label
from support.proxies.snapshots import service, snapshot

FOUND = snapshot(
    service("a", weight=3, zone="eu-1a", metadata={"tier": "gold"}),
    service("b", status="draining", version="2.1.0", location="http://[fd00::5]:81"),
    service("c", status="warning", mode="tcp", location="tcp://db.internal:5432"),
    service("d", mode="ipc", location="pipe 7", capabilities=["greet/formal", "x"]),
    service("e", version="2.0.0", mode="grpc", location="grpc://10.0.0.9:9"),
    splits={"greet": {"v1": 50, "v2": 50}},
)


def rendered(folder: Path, text: str) -> str:
    file = folder / "t.j2"
    file.write_text(text)
    return Template(file).render(FOUND)


def ids(folder: Path, call: str) -> str:
    return rendered(folder, f"{{{{ {call} | map(attribute='id') | join(' ') }}}}")


def test_services_are_filtered_as_in_the_api(tmp_path: Path) -> None:
    assert ids(tmp_path, "services()") == "a b c d e"
    assert ids(tmp_path, "services('greet')") == "a b c e"
    assert ids(tmp_path, "services('greet', status='active')") == "a c e"
    assert ids(tmp_path, "services(status=['draining', 'warning'])") == "b c"
    assert ids(tmp_path, "services(status='inactive')") == "b"
    assert ids(tmp_path, "services(version='>=2,<2.1')") == "e"
    assert ids(tmp_path, "services(version='2.1.0')") == "b"
    assert ids(tmp_path, "services(mode='tcp')") == "c"
    assert ids(tmp_path, "services(zone='eu-1a')") == "a"
    assert ids(tmp_path, "services(metadata={'tier': 'gold'})") == "a"
    assert ids(tmp_path, "services('nobody')") == ""


def test_providers_are_whom_to_call(tmp_path: Path) -> None:
    assert ids(tmp_path, "providers('greet')") == "a e"
    text = "{% for s in providers('greet') %}{{ s.id }}={{ s.weight }} {% endfor %}"
    assert rendered(tmp_path, text) == "a=1000 e=1000 "
    assert ids(tmp_path, "providers('greet', mode='grpc')") == "e"
    assert ids(tmp_path, "providers('greet', near='eu-1a')") == "a e"


def test_a_service_has_the_parts_of_its_location(tmp_path: Path) -> None:
    text = (
        "{% for s in services() %}{{ s.scheme }}|{{ s.host }}|{{ s.port }}|"
        "{{ s.authority }}|{{ s.address_type }}\n{% endfor %}{{ capabilities() }}"
    )
    assert rendered(tmp_path, text).splitlines() == [
        "http|10.0.0.5|8080|10.0.0.5:8080|IPv4",
        "http|fd00::5|81|[fd00::5]:81|IPv6",
        "tcp|db.internal|5432|db.internal:5432|FQDN",
        "||0||",
        "grpc|10.0.0.9|9|10.0.0.9:9|IPv4",
        "['greet', 'greet/formal', 'x']",
    ]


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("\n{% for x in %}", 2, "Expected an expression"),
        ("{% if true %}", 1, "Unexpected end of template"),
        ("\n\n{{ nobody }}", 3, "'nobody' is undefined"),
        ("\n{{ services()[0].nothing }}", 2, "has no attribute 'nothing'"),
        ("\n{{ services(colour='red') }}", 2, "there is no filter 'colour'"),
        ("{{ services(status='ill') }}", 1, "there is no status 'ill'"),
        ("{{ services(version='>>1') }}", 1, "is no range"),
        ("{{ providers('greet', near='a b') }}", 1, "zone 'a b' must be"),
        ("{{ 1 / 0 }}", 1, "division by zero"),
        ("{{ providers() }}", 1, "missing 1 required positional argument"),
        ("\n{{ ''.__class__.__mro__ }}", 2, "is unsafe"),
        ("{{ services.__globals__ }}", 1, "is unsafe"),
        ("{{ services()[0].metadata.clear() }}", 1, "of 'dict' object is unsafe"),
        ("{% for i in range(1000000) %}{% endfor %}", 1, "Range too big"),
    ],
)
def test_mistakes_are_told_with_file_and_line(
    tmp_path: Path, text: str, line: int, says: str
) -> None:
    with pytest.raises(TemplateFailed) as failure:
        rendered(tmp_path, text)
    assert str(failure.value).startswith(f"{tmp_path / 't.j2'}:{line}: ")
    assert says in str(failure.value)


def test_only_files_in_its_folder_are_read(tmp_path: Path) -> None:
    (tmp_path / "part.j2").write_text("{{ revision }}")
    assert rendered(tmp_path, "{% include 'part.j2' %}") == "10"
    (tmp_path / "bad.j2").write_text("\n{{ nobody }}")
    for text, says in (
        ("{% include '../other.j2' %}", "has no ../other.j2"),
        ("{% include '/etc/passwd' %}", "has no /etc/passwd"),
        ("{% include 'bad.j2' %}", f"{tmp_path / 'bad.j2'}:2: "),
    ):
        with pytest.raises(TemplateFailed, match=r"has no|bad\.j2") as failure:
            rendered(tmp_path, text)
        assert says in str(failure.value)


def test_labels_are_dns_labels() -> None:
    assert label("greet/Formal") == "greet-formal"
    assert label("1.0_x:y") == "x-1-0-x-y"
    assert len(label("a" * 62 + "/b")) == 62
