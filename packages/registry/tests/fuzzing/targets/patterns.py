"""The patterns of texts.

Each pattern is read alike by Python, by the engine in Rust that validates bodies, and
by JavaScript's, which the OpenAPI document is written for. What a pattern describes
and a parser enforces is the same. A glob of a token allows what it allows as a regular
expression.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import quickjs
from pydantic_core import SchemaError, SchemaValidator, ValidationError, core_schema

from modularity_registry.model.location import (
    InvalidLocation,
    parse_health_path,
    parse_location,
)
from modularity_registry.model.rights import GLOB_PATTERN, NAME_PATTERN, Patterns
from modularity_registry.model.split import GROUP_PATTERN
from modularity_registry.schema import patterns

_HEALTH_PATH: Final = patterns.HEALTH_PATH_PATTERN
PATTERNS: Final = (
    GLOB_PATTERN,
    NAME_PATTERN,
    GROUP_PATTERN,
    *(text for name, text in vars(patterns).items() if name.endswith("_PATTERN")),
    *patterns.LOCATION_PATTERNS.values(),
)

Match = Callable[[str], bool]


def _python(pattern: str) -> Match:
    match = re.compile(pattern).fullmatch
    return lambda text: match(text) is not None


def _rust(pattern: str) -> Match:
    validate = SchemaValidator(core_schema.str_schema(pattern=pattern)).validate_python

    def match(text: str) -> bool:
        try:
            validate(text)
        except ValidationError:
            return False
        return True

    return match


def _javascript(pattern: str) -> Match:
    compile = """(pattern) => {
        const compiled = new RegExp(pattern, "u");
        return (text) => compiled.test(text);
    }"""
    match: Match = quickjs.Context().eval(compile)(pattern)
    return match


ENGINES: Final[dict[str, list[Match]]] = {}
for _pattern in PATTERNS:
    ENGINES[_pattern] = [_python(_pattern), _javascript(_pattern)]
    with suppress(SchemaError):  # it looks ahead, which no engine in linear time does
        ENGINES[_pattern].append(_rust(_pattern))


def check(data: bytes) -> None:
    """Raise unless all agree on the text in ``data``.

    A line of its own behind it is a name, for which the text is a glob.
    """
    text = data.decode("utf-8", "replace").replace("\0", "")
    for pattern, engines in ENGINES.items():
        assert len({match(text) for match in engines}) == 1, pattern
    _agrees_with_parser(text)
    glob, _, name = text.partition("\n")
    expected = re.fullmatch(_expression(glob), name, re.DOTALL) is not None
    assert Patterns((glob,)).match(name) == expected


def _agrees_with_parser(text: str) -> None:
    described = ENGINES[_HEALTH_PATH][0](text)
    try:
        parse_health_path(text)
    except InvalidLocation:
        assert not described
    else:
        assert described
    for mode, pattern in patterns.LOCATION_PATTERNS.items():
        with suppress(InvalidLocation):
            parse_location(text, mode)
            # The other way round, a pattern can't tell which hosts there are.
            assert ENGINES[pattern][0](text.lower()), mode


def _expression(glob: str) -> str:
    """Return it as a regular expression; stars in a row are one, to stay quick."""
    return ".*".join(map(re.escape, re.split(r"\*+", glob)))
