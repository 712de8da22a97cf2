"""Files are replaced as a whole by what is good; commands end in time."""

import asyncio
import shlex
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from modularity_registry.cli.proxies import external_command
from modularity_registry.cli.proxies.output_file import NotWritten, OutputFile
from modularity_registry.cli.proxies.render_command import Commands, Writer
from modularity_registry.cli.proxies.template import Template
from support.proxies.snapshots import service, snapshot


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(coroutine)


def python(code: str) -> tuple[str, ...]:
    return sys.executable, "-c", code


def replace(path: Path, text: str, check: tuple[str, ...] = ()) -> bool:
    written: bool = run(OutputFile(path).replace(text, check))
    return written


def test_a_file_is_written_only_if_its_text_is_another(tmp_path: Path) -> None:
    path = tmp_path / "f"
    assert replace(path, "one")
    path.chmod(0o640)
    before = path.stat().st_ino
    assert not replace(path, "one")
    assert path.stat().st_ino == before
    assert replace(path, "two")
    assert path.read_text() == "two"
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_one(tmp_path: Path) -> None:
    path, link = tmp_path / "f", tmp_path / "link"
    link.symlink_to(path)
    replace(link, "one")
    assert link.is_symlink() and path.read_text() == "one"


def test_a_check_of_the_new_file_comes_before_it_is_there(tmp_path: Path) -> None:
    path = tmp_path / "f"
    code = "import sys; sys.exit('good' not in open(sys.argv[1]).read() and 'is bad')"
    check = (*python(code), "{file}")
    assert replace(path, "good", check)
    with pytest.raises(NotWritten, match=r"stays as it was: .* ended with code 1: is"):
        replace(path, "bad", check)
    assert path.read_text() == "good"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_check_of_the_file_itself_finds_bad_is_taken_back(
    tmp_path: Path,
) -> None:
    path = tmp_path / "f"
    check = python(f"import sys; sys.exit('good' not in open({str(path)!r}).read())")
    with pytest.raises(NotWritten):
        replace(path, "bad", check)
    assert not path.exists()
    assert replace(path, "good", check)
    with pytest.raises(NotWritten):
        replace(path, "bad", check)
    assert path.read_text() == "good"


def test_a_folder_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotWritten, match="can't be written: No such file"):
        replace(tmp_path / "no" / "f", "text")


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (python("pass"), None),
        (python("print('a\\nb'); raise SystemExit(3)"), "ended with code 3: a b"),
        (("no-such-program",), "can't be run: No such file"),
        (("echo", "a;", "exit", "1"), None),
        (python("import time; time.sleep(60)"), "took more than 0.5 s"),
    ],
)
def test_commands_end_in_time_and_say_why_they_fail(
    command: tuple[str, ...], reason: str | None
) -> None:
    said = run(external_command.run(command, 0.5 if "60" in command[-1] else 20))
    assert (said is None) if reason is None else (said and reason in said)


def test_all_that_a_late_command_started_is_ended(tmp_path: Path) -> None:
    file = tmp_path / "grown"
    grow = f"while :; do echo x >> {shlex.quote(str(file))}; sleep 0.05; done"
    said = run(external_command.run(("sh", "-c", f"({grow}) & wait"), 0.5))
    assert "was killed" in said
    size = file.stat().st_size
    time.sleep(0.3)
    assert file.stat().st_size == size


def test_a_failed_reload_is_told_once_and_tried_again(tmp_path: Path) -> None:
    template, said = tmp_path / "t", list[str]()
    template.write_text("{{ services() | length }}")
    gate = tmp_path / "gate"
    reload = python(f"import os, sys; sys.exit(not os.path.exists({str(gate)!r}))")
    writer = Writer(
        [Template(template)],
        [OutputFile(tmp_path / "f")],
        Commands((), reload, 20),
        said.append,
    )
    run(writer.write(snapshot(service("a"))))
    assert "ended with code 1" in writer.fault
    run(writer.write(snapshot(service("a"))))
    assert [text.partition(" ")[0] for text in said] == ["wrote", sys.executable]
    gate.touch()
    run(writer.write(snapshot(service("a"))))
    assert writer.fault == ""
    gate.unlink()
    run(writer.write(snapshot(service("a"))))
    assert (writer.fault, len(said)) == ("", 2)


def test_a_template_that_fails_keeps_the_last_good_file(tmp_path: Path) -> None:
    template, file, said = tmp_path / "t", tmp_path / "f", list[str]()
    template.write_text("{{ 1 / (1 - services() | length) }}")
    other = tmp_path / "o"
    writer = Writer(
        [Template(template), Template(template)],
        [OutputFile(file), OutputFile(other)],
        Commands((), (), 20),
        said.append,
    )
    run(writer.write(snapshot()))
    assert file.read_text() == other.read_text() == "1.0"
    run(writer.write(snapshot(service("a"))))
    assert f"{template}:1: division by zero; " in writer.fault
    assert file.read_text() == "1.0"
    template.write_text("mended")
    run(writer.write(snapshot(service("a"))))
    assert (file.read_text(), writer.fault) == ("mended", "")
