"""Consul's filter expressions, such as ``Service.Tags contains "v2" and not (...)``.

Patterns match in linear time (RE2, as in Consul), and everything about an expression is
bounded: nobody can have much looked for with a few bytes.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from modularity_registry.errors import InvalidRequest, shortened
from modularity_registry.integrations.consul.reads.selectors import (
    Kind,
    Selector,
    select,
)

Filter = Callable[[Any], bool]
"""Says whether a row passes."""

LONGEST: Final = 4096
MOST_TERMS: Final = 64
DEEPEST: Final = 16
LONGEST_PATTERN: Final = 256
_PATTERN_BYTES: Final = 1 << 20

_WORD = re.compile(
    r"\s*(?:(?P<open>\()|(?P<close>\))|(?P<equal>==|!=)"
    r"|(?P<raw>`[^`]*`)|(?P<text>\"[^\"]*\")"
    r"|(?P<number>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?=[\s)]|$))"
    r"|(?P<name>[A-Za-z][A-Za-z0-9_/]*"
    r"(?:\.[A-Za-z][A-Za-z0-9_/]*|\[\s*(?:`[^`]*`|\"[^\"]*\")\s*\])*))"
)
_PART = re.compile(r"\.([^.\[]+)|\[\s*[`\"]([^`\"]*)[`\"]\s*\]|^([^.\[]+)")
_TRUE: Final = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE: Final = frozenset({"0", "f", "F", "false", "FALSE", "False"})


def parsed(text: str, kind: Mapping[str, Kind]) -> Filter:
    """Return the filter that ``text`` is, for rows of this kind.

    Raises `InvalidRequest`.
    """
    if len(text) > LONGEST:
        raise _wrong(f"it has more than {LONGEST:,} characters")
    return _Parser(text, kind).parse()


class _Parser:
    def __init__(self, text: str, kind: Mapping[str, Kind]) -> None:
        self._kind = kind
        self._words = list(_words(text))
        self._at = 0
        self._terms = 0

    def parse(self) -> Filter:
        found = self._either(0)
        if self._at < len(self._words):
            raise self._unexpected()
        return found

    def _either(self, depth: int) -> Filter:
        parts = [self._both(depth)]
        while self._takes("or"):
            parts.append(self._both(depth))
        return parts[0] if len(parts) == 1 else lambda row: any(p(row) for p in parts)

    def _both(self, depth: int) -> Filter:
        parts = [self._negated(depth)]
        while self._takes("and"):
            parts.append(self._negated(depth))
        return parts[0] if len(parts) == 1 else lambda row: all(p(row) for p in parts)

    def _negated(self, depth: int) -> Filter:
        negative = False
        while self._takes("not"):
            negative = not negative
        found = self._single(depth)
        return (lambda row: not found(row)) if negative else found

    def _single(self, depth: int) -> Filter:
        if self._peek()[0] != "open":
            self._terms += 1
            if self._terms > MOST_TERMS:
                raise _wrong(f"it has more than {MOST_TERMS} comparisons")
            return self._match()
        if depth == DEEPEST:
            raise _wrong(f"it has more than {DEEPEST} parentheses in each other")
        self._at += 1
        found = self._either(depth + 1)
        if self._peek()[0] != "close":
            raise self._unexpected("Unmatched parentheses")
        self._at += 1
        return found

    def _match(self) -> Filter:
        first = self._next("name", "raw", "text", "number")
        negative = self._takes("not")
        operator = self._next("equal", "name")[1]
        if operator == "is":
            negative = self._takes("not")
            if self._next("name")[1] != "empty":
                raise self._unexpected()
            return _emptiness(self._selector(first), negative)
        if operator == "in":
            selector = self._selector(self._next("name"))
            return _presence(selector, _value(first), negative)
        selector = self._selector(first)
        value = _value(self._next("name", "raw", "text", "number"))
        if operator == "contains":
            return _presence(selector, value, negative)
        if operator == "matches":
            return _matching(selector, value, negative)
        if negative or operator not in ("==", "!="):
            raise self._unexpected()
        return _equality(selector, value, operator == "!=")

    def _selector(self, word: tuple[str, str]) -> Selector:
        kind, text = word
        if kind != "name":
            raise _wrong(f"{shortened(text, 64)} is not a selector")
        path = [next(filter(None, part), "") for part in _PART.findall(text)]
        selector = select(self._kind, path)
        if selector is None:
            raise _wrong(f'Selector "{shortened(text, 128)}" is not valid')
        return selector

    def _peek(self) -> tuple[str, str]:
        return self._words[self._at] if self._at < len(self._words) else ("end", "")

    def _takes(self, keyword: str) -> bool:
        if self._peek() != ("name", keyword):
            return False
        self._at += 1
        return True

    def _next(self, *kinds: str) -> tuple[str, str]:
        word = self._peek()
        if word[0] not in kinds:
            raise self._unexpected()
        self._at += 1
        return word

    def _unexpected(self, reason: str = "no match found") -> InvalidRequest:
        number = min(self._at + 1, len(self._words))
        word = self._peek()[1] or "the end"
        return _wrong(f"{reason} at word {number}: {shortened(word, 64)}")


def _words(text: str) -> list[tuple[str, str]]:
    words, at, end = [], 0, len(text.rstrip())
    while at < end:
        word = _WORD.match(text, at)
        if word is None or word.lastgroup is None:
            rest = shortened(text[at:].strip(), 32)
            raise _wrong(f"1:{at + 1} ({at}): no match found: {rest}")
        kind = word.lastgroup
        found = word[kind]
        words.append((kind, found[1:-1] if kind in ("raw", "text") else found))
        at = word.end()
    if not words:
        raise _wrong("it is empty")
    return words


def _value(word: tuple[str, str]) -> str:
    return word[1]


def _equality(selector: Selector, value: str, unequal: bool) -> Filter:
    wanted: Any = value
    if selector.kind is int:
        if not re.fullmatch(r"-?[0-9]{1,18}", value):
            raise _coercion(selector, value)
        wanted = int(value)
    elif selector.kind is bool:
        if value not in _TRUE | _FALSE:
            raise _coercion(selector, value)
        wanted = value in _TRUE
    elif selector.kind is not str:
        raise _operator("Not Equal" if unequal else "Equal", selector)
    return selector.test(lambda found: (found == wanted) != unequal, unequal)


def _presence(selector: Selector, value: str, negative: bool) -> Filter:
    if selector.kind not in (str, list, dict):
        raise _operator("Not In" if negative else "In", selector)
    return selector.test(lambda found: (value in found) != negative, negative)


def _emptiness(selector: Selector, negative: bool) -> Filter:
    if selector.kind not in (list, dict, "rows"):
        raise _operator("Is Not Empty" if negative else "Is Empty", selector)
    return selector.test(lambda found: bool(found) == negative, not negative)


def _matching(selector: Selector, pattern: str, negative: bool) -> Filter:
    if selector.kind is not str:
        raise _operator("Not Matches" if negative else "Matches", selector)
    search = _pattern(pattern)
    return selector.test(lambda found: (search(found) is not None) != negative, True)


def _pattern(text: str) -> Callable[[str], Any]:
    if len(text) > LONGEST_PATTERN:
        raise _wrong(f"a pattern has more than {LONGEST_PATTERN} characters")
    try:
        import re2
    except ImportError:
        raise _wrong(
            "the operator 'matches' needs a library that the registry does not have;"
            ' install it with pip install "modularity-registry[consul-filters]"'
        ) from None
    options = re2.Options()
    options.max_mem = _PATTERN_BYTES
    options.log_errors = False
    try:
        search: Callable[[str], Any] = re2.compile(text, options).search
    except re2.error as error:
        raise _wrong(f"{shortened(text, 64)!r} is not a pattern: {error}") from None
    return search


def _coercion(selector: Selector, value: str) -> InvalidRequest:
    return _wrong(
        f'Failed to coerce value "{shortened(value, 64)}" for selector'
        f' "{selector.name}"'
    )


def _operator(operator: str, selector: Selector) -> InvalidRequest:
    return _wrong(f'Invalid match operator "{operator}" for selector "{selector.name}"')


def _wrong(reason: str) -> InvalidRequest:
    return InvalidRequest(f"Failed to create boolean expression evaluator: {reason}")
