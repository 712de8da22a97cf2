"""XML as Eureka writes it, to and from the values that its JSON has.

An attribute is a key that begins with ``@``, the text beside attributes the key ``$``,
and an element that repeats is a list.
"""

import re
from functools import lru_cache
from typing import Any, Final
from xml.etree.ElementTree import Element, ParseError  # nosec B405
from xml.sax.saxutils import escape, quoteattr  # nosec B406

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from modularity_registry.errors import InvalidRequest

DEEPEST: Final = 8
"""Elements within elements; an instance needs four."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9._\-]*")
_NO_NAME = re.compile(r"^[^A-Za-z_]|[^A-Za-z0-9._\-]")
# What XStream, with which Java's clients write, makes of names that XML does not have.
_ESCAPED = re.compile(r"_\.([0-9A-Fa-f]{4})|_-|__")
# XML 1.0, section 2.2: what a document can't hold, not even escaped.
_NO_CHARACTER = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def read(body: bytes, root: str) -> dict[str, Any]:
    """Return the content of a document's root.

    Raises `InvalidRequest`, also for one that has a document type or entities.
    """
    try:
        element = fromstring(body, forbid_dtd=True)
    except DefusedXmlException:
        raise InvalidRequest("the body must have no document type") from None
    except (ParseError, ValueError, LookupError) as error:
        raise InvalidRequest(f"the body is not XML: {error}") from None
    if element.tag != root:
        raise InvalidRequest(f"the body must be an element {root!r}")
    value = _value(element, DEEPEST)
    return value if isinstance(value, dict) else {}


def _value(element: Element, depth: int) -> Any:
    if not depth:
        raise InvalidRequest("the body is nested too deeply")
    value: dict[str, Any] = {f"@{key}": text for key, text in element.attrib.items()}
    text = (element.text or "").strip()
    if not value and not len(element):
        return text
    for child in element:
        value[_unescaped(child.tag)] = _value(child, depth - 1)
    if text:
        value["$"] = text
    return value


def write(root: str, value: dict[str, Any]) -> bytes:
    """Return a value as an element, without a declaration before it."""
    # ElementTree takes five times as long, and lists have thousands of instances.
    return _element(root, value).encode("ascii", "xmlcharrefreplace")


def _element(name: str, value: Any) -> str:
    if not isinstance(value, dict):
        return f"<{name}>{escape(_text(value))}</{name}>"
    attributes, content = "", []
    for key, part in value.items():
        if key.startswith("@"):
            attributes += f" {escaped(key[1:])}={quoteattr(_text(part))}"
        elif key == "$":
            content.append(escape(_text(part)))
        else:
            child = escaped(key)
            parts = part if isinstance(part, list | tuple) else (part,)
            content.extend(_element(child, item) for item in parts)
    return f"<{name}{attributes}>{''.join(content)}</{name}>"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    text = "" if value is None else str(value)
    # Most are plain: the pattern takes longer than all else.
    if text.isascii() and text.isprintable():
        return text
    return _NO_CHARACTER.sub("\ufffd", text)


@lru_cache(maxsize=4096)
def escaped(name: str) -> str:
    """Return a name that XML takes; most are what they are."""
    if _NAME.fullmatch(name):
        return name
    return _NO_NAME.sub(lambda found: _escape(found[0]), name) or "_"


def _escape(character: str) -> str:
    return "_-" if character == "$" else f"_.{min(ord(character), 0xFFFF):04x}"


def _unescaped(name: str) -> str:
    def original(found: re.Match[str]) -> str:
        if found[1]:
            return chr(int(found[1], 16))
        return "$" if found[0] == "_-" else "_"

    return _ESCAPED.sub(original, name)
