"""Doctor and tokens: what one is good for, where it goes, who needs none."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import Result

from modularity_client.tokens import Token
from modularity_registry.cli.doctor import tokens
from support.access.tokens import as_, asked, closed
from support.cli import Served, Stub, run


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Served, str]]:
    with closed(tmp_path_factory.mktemp("registry")) as found:
        yield found


def findings(result: Result) -> list[tuple[str, str]]:
    found = json.loads(result.stdout)["findings"]
    return [(each["level"], each["message"]) for each in found]


def test_doctor_says_what_a_token_is_good_for(served: tuple[Served, str]) -> None:
    registry, boss = served

    def doctor(token: str, *more: str) -> tuple[int, list[tuple[str, str]]]:
        result = as_(registry, token, "doctor", "--json", *more)
        return result.exit_code, findings(result)

    code, found = doctor(boss)
    assert (
        code == 0 and ("ok", "it has the rights admin, read, register, track") in found
    )
    code, found = doctor("")
    assert code == 1
    assert ("problem", "it needs a token for every call, and none was given") in found
    code, found = doctor("mreg_unknown")
    assert code == 1 and any("is not valid" in said for _, said in found)
    text = asked(
        registry, boss, "create", "blind", "--right", "register", "--expires", "2d"
    ).stdout.strip()
    code, found = doctor(text)
    assert code == 1
    assert any("but not read" in said for level, said in found if level == "problem")
    assert any("expires in 1 day" in said for level, said in found if level == "note")
    assert ("note", "not checked: no right to read") in found
    code, found = doctor("", "--token-file", "/no/such/file")
    assert code == 1 and any("can't be read" in said for _, said in found)


def test_doctor_finds_an_open_registry() -> None:
    health = {
        **{"status": "healthy", "service": "modularity-registry", "version": "1"},
        **{"timestamp": datetime.now(UTC).isoformat(), "store": "memory"},
        "warnings": ["anyone may change everything; add --auth"],
    }
    stub = Stub({"/health": health, "/ready": {"status": "ready"}})
    try:
        result = run("doctor", "--json", "--url", stub.url)
    finally:
        stub.close()
    assert ("problem", "anyone may change everything") in findings(result)


def test_doctor_minds_where_a_token_goes() -> None:
    urls = [
        *("http://10.0.0.5:5000", "https://10.0.0.5:5000", "http://127.0.0.9:5000"),
        *("http://localhost:5000", "http://[::1]:5000", "http://registry:5000"),
    ]
    found = [each.about for each in tokens.unencrypted(urls, "t")]
    assert found == ["http://10.0.0.5:5000", "http://registry:5000"]
    assert not list(tokens.unencrypted(urls, ""))


def test_doctor_knows_what_open_means() -> None:
    def levels(url: str, token: bool, warned: bool = False) -> list[str]:
        return [each.level for each in tokens.of_open(url, token, warned)]

    assert levels("http://10.0.0.5:5000", False) == ["problem"]
    assert levels("http://10.0.0.5:5000", False, True) == []
    assert levels("http://127.0.0.1:5000", False) == []
    assert levels("http://127.0.0.1:5000", True) == ["note"]


def test_doctor_takes_anonymous_readers_for_right() -> None:
    now = datetime.now(UTC)
    anybody = Token(None, ("read",), ("*",), ("*",), None, None, None)
    assert [each.level for each in tokens.of_own("u", anybody, now)] == ["ok"]
    ends = now + timedelta(hours=3)
    own = Token("t", ("read",), ("*",), ("*",), None, ends, None)
    *_, last = tokens.of_own("u", own, now)
    assert last.level == "note" and "less than a day" in last.message
