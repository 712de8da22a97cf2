"""XML to values and back."""

from typing import Any

import pytest

from modularity_registry.errors import InvalidRequest
from modularity_registry.integrations.eureka import xml


@pytest.mark.parametrize(
    ("value", "document"),
    [
        ({"a": "1"}, b"<r><a>1</a></r>"),
        ({"p": {"@on": "true", "$": "8"}}, b'<r><p on="true">8</p></r>'),
        ({"a b": "x"}, b"<r><a_.0020b>x</a_.0020b></r>"),
        ({"1a": "x"}, b"<r><_.0031a>x</_.0031a></r>"),
        ({"a": "<&\xe9"}, b"<r><a>&lt;&amp;&#233;</a></r>"),
    ],
)
def test_values_survive_the_way(value: dict[str, Any], document: bytes) -> None:
    assert xml.write("r", value) == document
    assert xml.read(document, "r") == value


def test_what_xml_can_not_hold_is_replaced() -> None:
    assert xml.write("r", {"a": "x\x01\ud800y"}) == b"<r><a>x&#65533;&#65533;y</a></r>"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<r>",
        b"<s/>",
        b'<!DOCTYPE r SYSTEM "http://127.0.0.1/x"><r/>',
        b'<!DOCTYPE r [<!ENTITY a "b">]><r>&a;</r>',
        b"<r>&a;</r>",
        b"<r>" * 20 + b"</r>" * 20,
        b'<?xml version="1.0" encoding="x-unknown"?><r/>',
        b"\xff\xfe<",
    ],
)
def test_bad_documents_are_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        xml.read(body, "r")
