"""The command split: what it sets and shows, and what it refuses."""

from collections.abc import Iterator

import pytest

from support.cli import Served, spaced


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    registry = Served()
    try:
        registry.register("a", version="1.4.2", mode="ipc")
        registry.register("b", version="2.0.0", mode="ipc")
        registry.register("c", mode="ipc", metadata={"tag": "canary"})
        registry.register("d", version="3.0", mode="ipc")
        yield registry
    finally:
        registry.kill()


def test_a_split_is_set_shown_and_ended(served: Served) -> None:
    none = served.run("split", "greet")
    assert none.exit_code == 1 and "'greet' are not split" in none.stderr
    assert served.run("split").stdout == "No calls are split.\n"
    done = served.run("split", "greet", "v2=10", "v1=90", "canary=0")
    assert done.stdout == "Split greet: canary 0, v1 90, v2 10.\n"
    assert spaced(served.run("split", "greet").stdout) == [
        "GROUP SHARE GET CALLS PROVIDERS",
        "canary 0.0% 0 of 1 c",
        "v1 90.0% 1 of 1 a",
        "v2 10.0% 1 of 1 b",
        "- - 0 of 1 d",
    ]
    assert spaced(served.run("explain", "greet").stdout)[:2] == [
        "ID GROUP STATUS RETURNED WHY NOT",
        "a v1 healthy yes -",
    ]
    served.run("split", "nobody/offers", "v1=1")
    assert spaced(served.run("split").stdout) == [
        "CAPABILITY SPLIT",
        "greet canary 0, v1 90, v2 10",
        "nobody/offers v1 1",
    ]
    assert spaced(served.run("split", "nobody/offers").stdout) == [
        "GROUP SHARE GET CALLS PROVIDERS",
        "v1 100.0% 0 of 0 -",
    ]
    ended = served.run("split", "greet", "--clear")
    assert ended.stdout == "The calls of greet are no longer split.\n"
    assert served.run("split", "greet", "--clear").exit_code == 1


def test_json_is_that_of_the_api(served: Served) -> None:
    set_ = served.json("split", "x/y", "v1=1", "v2=3")
    assert (set_["status"], set_["split"]) == ("split", {"v1": 1, "v2": 3})
    assert served.json("split", "x/y") == {"v1": 1, "v2": 3}
    assert served.json("split")["splits"] == served.get("/api/splits")["splits"]
    assert served.json("split", "x/y", "--clear")["status"] == "ended"


@pytest.mark.parametrize(
    "words",
    [
        ["greet", "v1"],
        ["greet", "v1=x"],
        ["greet", "v1=-1"],
        ["greet", "=1"],
        ["greet", "v1=1", "v1=2"],
        ["greet", "v1=1", "--clear"],
        ["--clear"],
    ],
)
def test_what_is_no_split_is_a_mistake_in_the_command(
    served: Served, words: list[str]
) -> None:
    result = served.run("split", *words)
    assert result.exit_code == 2, result.stdout
    assert "Traceback" not in result.stderr


def test_what_the_registry_refuses_is_one_line(served: Served) -> None:
    result = served.run("split", "greet", "v1=0")
    assert result.exit_code == 1
    assert "at least a weight above 0" in result.stderr
