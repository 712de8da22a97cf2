"""The tests of the documents find what is wrong in one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.docs.blocks import anchors, blocks, commands, links, table
from e2e.docs.matching import differences
from e2e.docs.reader import ROOT, Reader, Substitute, WrongDocument, reading

REGISTER = """
```sh
curl -X PUT localhost:5000/api/services/a -H 'Content-Type: application/json' -d '{
  "name": "A", "capabilities": ["x"], "location": "here", "mode": "ipc"
}'
```
"""
READ = "```sh\ncurl localhost:5000/api/capabilities/x\n```\n"
READY = "```sh\ncurl localhost:5000/ready\n```\n"
SERVICE = """```json
{
  "id": "a", "name": "A", "version": "1.0.0", "capabilities": ["x"], "location": "here",
  "mode": "ipc", "status": "healthy", "metadata": {}, "weight": 1, "ttl": null,
  "registered_at": "2026-01-02T03:04:05.678901Z", "health": null, "revision": 1,
  "last_seen": "2026-01-02T03:04:05.678901Z", "failed_checks": 0
}
```
"""
CALL = "uv run python examples/01-hello-world/call.py"
HIDDEN = "an error that the document hides"
SUBSTITUTES = {"make coffee": Substitute("false", "there is no coffee")}


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    scratch: Path = tmp_path_factory.mktemp("reader")
    with reading(ROOT, scratch, SUBSTITUTES) as reader:
        reader.follow(REGISTER + READ + SERVICE, "right.md")
        yield reader


def test_what_is_right_passes(reader: Reader) -> None:
    reader.follow(READ + SERVICE, "right.md")


@pytest.mark.parametrize(
    ("right", "wrong", "why"),
    [
        ('"name": "A"', '"name": "B"', "reply[0].name: shown 'B', really 'A'"),
        ('"ttl": null', '"ttl": 60', "reply[0].ttl"),
        ('"weight": 1, ', "", "reply[0].weight: there, but not shown"),
        ('"weight": 1', '"weight": 1, "port": 1', "reply[0].port: shown, but not"),
        ('"weight": 1', '"weight": true', "reply[0].weight"),
        ('["x"]', '["x", "y"]', "reply[0].capabilities: 2 shown, really 1"),
        ('"revision": 1', '"revision": "1"', "reply[0].revision"),
        ("05.678901Z", "05Z", "reply[0].last_seen"),
        ("}\n```", "} {}\n```", "reply: 2 shown, really 1"),
        ("}\n```", "\n```", "not JSON"),
    ],
)
def test_a_wrong_reply_is_found(
    reader: Reader, right: str, wrong: str, why: str
) -> None:
    assert right in SERVICE
    with pytest.raises(WrongDocument) as caught:
        reader.follow(READ + SERVICE.replace(right, wrong), "wrong.md")
    assert str(caught.value).startswith("wrong.md:2: ")
    assert why in str(caught.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (READ.replace("/x", "/never"), HIDDEN),
        (
            READ.replace("capabilities", "capability"),
            HIDDEN,
        ),
        (READ.replace("curl", "curl --no-such-option"), "ended with 2"),
        (
            READY + READY.replace("sh", "json").replace("curl localhost", "1"),
            "not JSON",
        ),
        (SERVICE, "a reply without a command"),
        (READ + SERVICE + SERVICE.replace("json", "text"), "a reply without a command"),
        ("```sh\nls docs\n```\n", "nobody has said that this may run"),
        ("```sh\nmake coffee\n```\n", "ended with 1"),
        (f"```sh\n{CALL}\n```\n", "ended with 1"),
        ("```sh\ncurl http://example.com/\n```\n", "no call to example.com"),
        ("```sh\necho 'never\n```\n", "this command never ends"),
        ("```python\nreturn = 1\n```\n", "invalid syntax"),
        (
            "```sh\nuv run --directory packages/registry python registry_service.py"
            " --health-check-fall 0\n```\n",
            "must be a whole number from 1 to 100",
        ),
        (
            "```sh\nuv run --directory packages/registry python registry_service.py\n"
            "curl localhost:5000/ready\n```\n",
            "stands in a block of its own",
        ),
    ],
)
def test_a_wrong_command_is_found(reader: Reader, text: str, why: str) -> None:
    with pytest.raises(AssertionError) as caught:
        reader.follow(text, "wrong.md")
    assert why in str(caught.value)


def test_a_wrong_text_is_found(reader: Reader) -> None:
    text = "```sh\ncurl -o /dev/null -w 'up\\n' localhost:5000/ready\n```\n"
    reader.follow(text + "```text\nup\n```\n", "right.md")
    with pytest.raises(WrongDocument, match="shown 'down"):
        reader.follow(text + "```text\ndown\n```\n", "wrong.md")


def test_an_error_is_shown_as_it_is(reader: Reader) -> None:
    shown = """```json
    {
      "type": "urn:modularity-registry:capability_not_found", "title": "Not Found",
      "status": 404, "detail": "no service offers the capability 'never'",
      "code": "capability_not_found",
      "error": "no service offers the capability 'never'"
    }
    ```"""
    text = READ.replace("/x", "/never") + shown
    reader.follow(text, "right.md")
    with pytest.raises(WrongDocument, match=r"reply\[0\].status"):
        reader.follow(text.replace("404", "503"), "wrong.md")


@pytest.mark.parametrize(
    ("shown", "real"),
    [
        ({"a": 1}, {"a": 1.0}),
        ({"a": [{"b": None}]}, {"a": [{"b": 0}]}),
        ({"since": None}, {"since": "2026-01-02T03:04:05.678901Z"}),
        ({"since": "2026-01-02T03:04:05.678901Z"}, {"since": None}),
        ({"checked_by": "host"}, {"checked_by": "host-0123ab"}),
        ({"latency_ms": -1.0}, {"latency_ms": 1.0}),
    ],
)
def test_differences_are_deep_and_mind_types(shown: Any, real: Any) -> None:
    assert differences(real, real) == []
    assert len(differences(shown, real)) == 1


def test_markdown_is_read() -> None:
    text = (
        '# A `b` (c)\n# A `b` (c)\n[one](x.md#y) `[no](code)` ![two](z.png "t")\n'
        "```sh\n# [no](comment)\ncurl 'a\nb'\n\nls \\\n  -l\n```\n"
        "| k | v |\n| --- | --- |\n| 1 | 2 |\n\n| 3 | 4 |\n"
    )
    assert anchors(text) == {"a-b-c", "a-b-c-1"}
    assert links(text) == ["x.md#y", "z.png"]
    assert table(text, "k") == [["1", "2"]]
    [block] = blocks(text)
    assert (block.language, block.line) == ("sh", 5)
    assert commands(block.text) == ["curl 'a\nb'", "ls \\\n  -l"]
    with pytest.raises(AssertionError, match="line 1 never ends"):
        blocks("```sh\nls\n")
