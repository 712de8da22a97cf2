"""Whether an HTTP answer is what a check expects."""

import json
from collections.abc import Iterable

from modularity_registry.health.probes.outcome import CheckFailed
from modularity_registry.model.checks import JsonExpectation


def is_expected(status: int, good: Iterable[int | str]) -> bool:
    """Say whether a status is among codes and ranges such as ``200-299``."""
    for codes in good:
        first, _, last = str(codes).partition("-")
        if int(first) <= status <= int(last or first):
            return True
    return False


def check_field(content: object, expected: JsonExpectation) -> None:
    """Raise `CheckFailed` unless the field of a JSON answer has its value."""
    value = content
    for name in expected.path.split("."):
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        else:
            raise CheckFailed("status", f"the answer has no field {expected.path}")
    # For Python, True is 1; in JSON it is not.
    kinds_differ = isinstance(value, bool) != isinstance(expected.value, bool)
    if kinds_differ or value != expected.value:
        # What the service answered may be long or secret: only the wish is shown.
        wish = json.dumps(expected.value)
        raise CheckFailed("status", f"the field {expected.path} is not {wish}")
