"""Bodies as Consul reads them: keys in any case, durations in words."""

import re
from collections.abc import Mapping
from typing import Any, Final

from modularity_registry.errors import InvalidRequest, shortened
from modularity_registry.schema import decode_object

_UNITS: Final = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "μs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
_PART = re.compile(r"([0-9]{1,18}(?:\.[0-9]{0,18})?|\.[0-9]{1,18})(ns|[uµμm]s|[smh])")
_LONGEST: Final = 64


def duration(text: str) -> float | None:
    """Return the seconds of a duration as ``1m30s``; None if it is none."""
    if len(text) > _LONGEST:
        return None
    sign = -1.0 if text.startswith("-") else 1.0
    rest = text.lstrip("+-") if text[:1] in ("+", "-") else text
    if rest == "0":
        return 0.0
    seconds, at = 0.0, 0
    while at < len(rest):
        part = _PART.match(rest, at)
        if part is None:
            return None
        seconds += float(part[1]) * _UNITS[part[2]]
        at = part.end()
    return sign * seconds if rest else None


def decoded(body: bytes) -> "Fields":
    """Return the object in a body; raises `InvalidRequest`."""
    if not body.strip():
        raise _failed("EOF")
    try:
        return Fields(decode_object(body))
    except InvalidRequest as error:
        raise _failed(error.detail) from None


class Fields:
    """An object, whose keys may be in any case, with or without underscores.

    A field that is missing or null has its default. Every method raises
    `InvalidRequest` for a value of another type. Each field is read once; `end` refuses
    what is left.
    """

    def __init__(self, values: Any, name: str = "") -> None:
        """Return them; ``name`` is that of the field that holds them."""
        self._name = name
        if not isinstance(values, dict):
            raise self._wrong(values, "", "an object")
        self._values = {
            key.replace("_", "").lower(): (key, value) for key, value in values.items()
        }

    def __bool__(self) -> bool:
        return bool(self._values)

    def text(self, *names: str) -> str:
        """Return the text of the first of these fields that is there; else none."""
        values = [self._take(name, str, "string", "") for name in names]
        return next(filter(None, values), "")

    def number(self, name: str, default: int = 0) -> int:
        """Return a whole number."""
        number = self._take(name, int, "int", default)
        if isinstance(number, bool) or abs(number) >= 1 << 63:
            raise self._wrong(number, name, "int")
        return int(number)

    def flag(self, name: str) -> bool:
        """Return true or false."""
        return bool(self._take(name, bool, "bool", False))

    def seconds(self, name: str) -> float:
        """Return the seconds of a duration, which may be a number of nanoseconds."""
        value = self._values.pop(name.lower(), ("", None))[1]
        if value is None or value == "":
            return 0.0
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value) / 1e9
        seconds = duration(value) if isinstance(value, str) else None
        if seconds is None:
            shown = shortened(str(value), _LONGEST)
            raise _failed(f'time: invalid duration "{shown}"')
        return seconds

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of texts."""
        values = self._take(name, list, "[]string", [])
        for value in values:
            if not isinstance(value, str):
                raise self._wrong(value, name, "string")
        return tuple(values)

    def mapping(self, name: str) -> dict[str, str]:
        """Return texts by their keys."""
        values = self._take(name, dict, "map[string]string", {})
        for value in values.values():
            if not isinstance(value, str):
                raise self._wrong(value, name, "string")
        return dict(values)

    def object(self, name: str) -> "Fields | None":
        """Return an object; None if there is none."""
        value = self._take(name, dict, "object", None)
        return None if value is None else Fields(value, name)

    def objects(self, name: str) -> list["Fields"]:
        """Return a list of objects."""
        return [Fields(value, name) for value in self._take(name, list, "[]object", [])]

    def raw(self, name: str) -> Mapping[str, Any]:
        """Return an object as it is."""
        value: Mapping[str, Any] = self._take(name, dict, "object", {})
        return value

    def raw_value(self, name: str) -> Any:
        """Return a value of any type, which stays to be read; None if it is missing."""
        return self._values.get(name, ("", None))[1]

    def end(self, *ignored: str) -> None:
        """Refuse every field that was not read, but those that may be ignored."""
        for name, (key, _) in self._values.items():
            if name not in ignored:
                raise _failed(f'json: unknown field "{shortened(key, _LONGEST)}"')

    def _take(self, name: str, kind: type, shown: str, default: Any) -> Any:
        value = self._values.pop(name.lower(), ("", None))[1]
        if value is None:
            return default
        if not isinstance(value, kind):
            raise self._wrong(value, name, shown)
        return value

    def _wrong(self, value: Any, name: str, kind: str) -> InvalidRequest:
        found = {str: "string", bool: "bool", dict: "object", list: "array"}
        where = f"{self._name}.{name}"
        return _failed(
            f"json: cannot unmarshal {found.get(type(value), 'number')} into Go struct"
            f" field {where} of type {kind}"
        )


def _failed(reason: str) -> InvalidRequest:
    return InvalidRequest(f"Request decode failed: {reason}")
