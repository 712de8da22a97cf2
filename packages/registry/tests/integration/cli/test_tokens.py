"""The commands about tokens, at a registry, in its store, in a file; and owners."""

import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests

from e2e.docs.reader import ROOT
from modularity_registry import config
from modularity_registry.api.route_policy import ROUTES
from modularity_registry.tokens import FileTokenBackend
from support import TESTS
from support.access.tokens import as_, asked, closed
from support.cli import Served, environ, run
from support.registry import eventually

TEXT = re.compile(r"mreg_[A-Za-z0-9_-]{43}\n")


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Served, str]]:
    with closed(tmp_path_factory.mktemp("registry")) as found:
        yield found


def test_a_new_token_is_alone_on_standard_output(served: tuple[Served, str]) -> None:
    registry, boss = served
    made = asked(
        *(registry, boss, "create", "team-a", "--right", "read", "--right", "register"),
        *("--id", "a-*", "--capability", "a.*", "--expires", "90d"),
    )
    assert made.exit_code == 0 and TEXT.fullmatch(made.stdout)
    assert made.stdout.strip() not in made.stderr
    for said in ("team-a created", "read, register", "a-*", "a.*", "expires 20"):
        assert said in made.stderr
    own = json.loads(asked(registry, made.stdout.strip(), "whoami", "--json").stdout)
    assert (own["name"], own["ids"], own["capabilities"]) == (
        "team-a",
        ["a-*"],
        ["a.*"],
    )
    ends = datetime.fromisoformat(own["expires_at"])
    assert timedelta(days=89) < ends - datetime.now(UTC) <= timedelta(days=90)


def test_json_is_as_the_api_has_it_wherever_tokens_are(
    served: tuple[Served, str], tmp_path: Path
) -> None:
    registry, boss = served
    arguments = ("create", "json", "--right", "track", "--id", "j-*", "--json")
    at_registry = json.loads(asked(registry, boss, *arguments).stdout)
    file = str(tmp_path / "tokens.json")
    in_file = json.loads(run("token", *arguments, "--file", file).stdout)
    differ = {"token", "created_at"}
    assert at_registry.keys() == in_file.keys()
    for name in at_registry.keys() - differ:
        assert at_registry[name] == in_file[name]
    listed = json.loads(asked(registry, boss, "list", "--json").stdout)
    offline = json.loads(run("token", "list", "--json", "--file", file).stdout)
    assert listed.keys() == offline.keys()
    assert offline["tokens"] == [{k: v for k, v in in_file.items() if k != "token"}]


def test_list_shows_no_text(served: tuple[Served, str]) -> None:
    registry, boss = served
    listed = asked(registry, boss, "list")
    assert listed.stdout.startswith("NAME ") and "boss" in listed.stdout
    assert "mreg_" not in listed.stdout


def test_rotating_leaves_the_former_text_its_grace(served: tuple[Served, str]) -> None:
    registry, boss = served
    first = asked(registry, boss, "create", "turn", "--right", "read").stdout.strip()
    second = asked(registry, boss, "rotate", "turn", "--grace", "1h").stdout.strip()
    for text in (first, second):
        assert as_(registry, text, "ls").exit_code == 0
    third = asked(registry, boss, "rotate", "turn")
    assert TEXT.fullmatch(third.stdout) and "turn rotated" in third.stderr
    for text, code in ((first, 1), (second, 1), (third.stdout.strip(), 0)):
        assert as_(registry, text, "ls").exit_code == code


def test_revoking_takes_several_and_tells_which_it_could_not(
    served: tuple[Served, str],
) -> None:
    registry, boss = served
    for name in ("gone-1", "gone-2"):
        asked(registry, boss, "create", name, "--right", "read")
    result = asked(registry, boss, "revoke", "gone-1", "nobody", "gone-2")
    assert (result.exit_code, result.stdout) == (1, "revoked gone-1\nrevoked gone-2\n")
    assert "'nobody'" in result.stderr and result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("create", "x"), 2, "--right"),
        (("create", "x", "--right", "write"), 2, "'write'"),
        (("create", "Big Name", "--right", "read"), 1, "name must be"),
        (("create", "x", "--right", "read", "--id", "a?"), 1, "ids"),
        (("create", "x", "--right", "read", "--expires", "90"), 2, "90d, 12h"),
        (("create", "x", "--right", "read", "--expires", "1.5d"), 2, "90d, 12h"),
        (("create", "x", "--right", "read", "--expires", "0s"), 1, "expires_in"),
        (("create", "x", "--right", "read", "--expires", "99999d"), 1, "expires_in"),
        (("create", "boss", "--right", "read"), 1, "already"),
        (("rotate", "nobody"), 1, "no token 'nobody'"),
        (("rotate", "boss", "--grace", "999d"), 1, "grace"),
        (("revoke", "boss"), 1, "last"),
        (("revoke", "boss", "--last-admin"), 2, "--store"),
        (("revoke",), 2, "NAME"),
        (("list", "--file", "a", "--store", "b"), 2, "can't be used together"),
        (("list", "--file", "a", "--url", "http://b"), 2, "can't be used together"),
        (("list", "--store", "memory://"), 1, "memory:// lives within"),
        (("list", "--store", "nonsense://x"), 1, "--store"),
        (("list", "--store", "sqlite:////no/such/file.db"), 1, "no file /no/such"),
        (("create", "x", "--right", "read", "--file", "/no/such/f"), 1, "/no/such"),
        (("list", "--file", "/no-such-file"), 1, "/no-such-file"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(
    served: tuple[Served, str], arguments: tuple[str, ...], code: int, said: str
) -> None:
    registry, boss = served
    result = asked(registry, boss, *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert said in result.stderr
    assert code == 2 or result.stderr.count("\n") == 1


def test_who_is_no_admin_is_told_so(served: tuple[Served, str]) -> None:
    registry, boss = served
    text = asked(registry, boss, "create", "plain", "--right", "read").stdout.strip()
    refused = asked(registry, text, "list")
    assert refused.exit_code == 1 and "'admin'" in refused.stderr
    nobody = asked(registry, "", "whoami")
    assert nobody.exit_code == 1 and "no token was given" in nobody.stderr


def test_a_lost_admin_is_replaced_in_the_store_of_a_running_registry(
    tmp_path: Path,
) -> None:
    with closed(tmp_path) as (registry, boss):
        place = ("--store", f"sqlite:///{tmp_path / 'registry.db'}")
        kept = run("token", "revoke", "boss", *place)
        assert kept.exit_code == 1 and "last" in kept.stderr
        gone = run("token", "revoke", "boss", "--last-admin", *place)
        assert gone.exit_code == 0, gone.stderr
        eventually(lambda: asked(registry, boss, "whoami").exit_code == 1)
        made = run("token", "create", "new-boss", "--right", "admin", *place)
        eventually(
            lambda: asked(registry, made.stdout.strip(), "whoami").exit_code == 0, 5
        )


def test_a_file_is_made_for_its_owner_alone_and_a_registry_takes_it(
    tmp_path: Path,
) -> None:
    file = tmp_path / "tokens.json"
    made = run("token", "create", "boss", "--right", "admin", "--file", str(file))
    assert TEXT.fullmatch(made.stdout)
    assert f"serve --auth --tokens-file {file}" in made.stderr
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    registry = Served(auth=True, tokens_file=str(file))
    try:
        boss = made.stdout.strip()
        assert as_(registry, boss, "ls").exit_code == 0
        late = run("token", "create", "late", "--right", "read", "--file", str(file))
        eventually(lambda: as_(registry, late.stdout.strip(), "ls").exit_code == 0)
        run("token", "revoke", "late", "--file", str(file))
        eventually(lambda: as_(registry, late.stdout.strip(), "ls").exit_code == 1)
    finally:
        registry.kill()
    assert set(FileTokenBackend(str(file)).all()) == {"boss"}


def test_a_token_comes_from_a_file(served: tuple[Served, str], tmp_path: Path) -> None:
    registry, boss = served
    file = tmp_path / "boss"
    file.write_text(f"{boss}\n")
    ways: list[tuple[tuple[str, ...], dict[str, str]]] = [
        (("--token-file", str(file)), {}),
        ((), {"REGISTRY_TOKEN_FILE": str(file)}),
        (("--token-file", str(file)), {"REGISTRY_TOKEN": "another"}),
        (("--token", boss), {"REGISTRY_TOKEN_FILE": "/no/such/file"}),
    ]
    for arguments, env in ways:
        result = run("ls", *arguments, REGISTRY_URL=registry.url, **env)
        assert result.exit_code == 0, result.stderr
    wrong: list[tuple[str, ...]] = [
        ("--token-file", "/no/such/file"),
        ("--token", boss, "--token-file", str(file)),
        ("--token", "two words"),
    ]
    for given in wrong:
        result = run("ls", *given, REGISTRY_URL=registry.url)
        assert result.exit_code == 2 and boss not in result.stderr


def test_the_callers_settings_do_not_stop_a_registry() -> None:
    names = ("REGISTRY_URL", "REGISTRY_TOKEN", "REGISTRY_TOKEN_FILE")
    assert config.load({}, dict.fromkeys((*names, "REGISTRY_OWNER_KEY"), "x"))


def test_an_owner_key_opens_what_it_was_registered_with() -> None:
    registry, key = Served(), "0123456789abcdef"
    place = ("--id", "mine", "--capability", "x", "--location", "y", "--mode", "ipc")
    try:
        assert registry.run("register", *place, "--owner-key", key).exit_code == 0
        assert "holder of its owner_key" in registry.run("info", "mine").stdout
        for command in ("drain", "undrain", "unregister"):
            refused = registry.run(command, "mine")
            assert refused.exit_code == 1 and "--owner-key" in refused.stderr
            assert key not in refused.stderr
        for command in ("drain", "undrain"):
            done = registry.run(command, "mine", "--owner-key", key)
            assert done.exit_code == 0, done.stderr
        done = run(
            *("unregister", "mine"), REGISTRY_URL=registry.url, REGISTRY_OWNER_KEY=key
        )
        assert done.exit_code == 0, done.stderr
        assert registry.run("unregister", "x", "--owner-key", "short").exit_code == 2
        registry.register("free")
        assert re.search(r"owner +none", registry.run("info", "free").stdout)
    finally:
        registry.kill()


def test_info_names_the_token_that_a_service_belongs_to(
    served: tuple[Served, str],
) -> None:
    registry, boss = served
    place = ("--capability", "x", "--location", "y", "--mode", "ipc")
    assert as_(registry, boss, "register", "--id", "b", *place).exit_code == 0
    assert "token boss" in as_(registry, boss, "info", "b").stdout


def test_a_registry_that_was_told_its_token_by_a_shell_works(
    served: tuple[Served, str],
) -> None:
    """As people do it: the text in a variable of the shell, the rest on the screen."""
    registry, boss = served
    program = f"{sys.executable} -m support.programs.cli"
    script = (
        f"TOKEN=$({program} token create shell --right read) &&"
        f' REGISTRY_TOKEN="$TOKEN" {program} token whoami'
    )
    env = environ(REGISTRY_URL=registry.url, REGISTRY_TOKEN=boss, PYTHONPATH=str(TESTS))
    done = subprocess.run(
        ["sh", "-c", script], env=env, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert re.match(r"name +shell\n", done.stdout)
    assert "mreg_" not in done.stdout + done.stderr
    assert os.environ.get("TOKEN") is None


def test_the_commands_use_what_the_api_says(served: tuple[Served, str]) -> None:
    registry, boss = served
    headers = {"Authorization": f"Bearer {boss}"}
    reply = requests.get(f"{registry.url}/api/tokens", headers=headers, timeout=10)
    listed = json.loads(asked(registry, boss, "list", "--json").stdout)
    assert listed == reply.json()


def test_the_page_names_every_route_with_its_right() -> None:
    page = (ROOT / "docs" / "tokens.md").read_text()
    section = page[page.index("| call | right |") :].split("\n\n")[0]
    shown: dict[tuple[str, str], str] = {}
    for row in section.splitlines()[2:]:
        calls, right = (cell.strip() for cell in row.split("|")[1:3])
        found = re.match(r"`([a-z]+)`", right)
        word = found[1] if found else "register" if right == "the same" else "none"
        for method, path in re.findall(r"`([A-Z]+) (/[^`]*)`", calls):
            shown[method, path] = word
    real = {
        (method, _as_documented(path)): "none" if right is None else right.value
        for (method, path), (right, _) in ROUTES.items()
    }
    assert shown == real


def _as_documented(path: str) -> str:
    return re.sub(r"<(?:path:)?(\w+)>", r"{\1}", path).replace("{service_id}", "{id}")
