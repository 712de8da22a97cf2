"""The configuration file: TOML, with the settings' names as keys."""

import difflib
import re
import tomllib
from dataclasses import dataclass, field
from typing import Any, Final

from modularity_registry.config.option import Option
from modularity_registry.config.options import OPTIONS
from modularity_registry.config.settings import OFF
from modularity_registry.errors import BadSetting

_OPTIONS: Final = {option.field: option for option in OPTIONS}


@dataclass(slots=True)
class ConfigFile:
    """What a file sets: values and sources by field.

    A source is the file and the line, as ``registry.toml:3``. There is a sentence for
    each fault, and for each ``unknown`` key.
    """

    values: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def read_file(path: str) -> ConfigFile:
    """Return what the file sets, and everything that is wrong with it."""
    file = ConfigFile()
    try:
        with open(path, "rb") as stream:
            text = stream.read().decode()
        # A Windows editor may begin the file with a mark for UTF-8.
        entries = tomllib.loads(text.removeprefix("\ufeff"))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        file.faults.append(f"the configuration file {path} can't be read: {reason}")
    except UnicodeDecodeError:
        file.faults.append(f"{path} is not valid TOML: it is not UTF-8 text")
    except (ValueError, RecursionError) as error:
        file.faults.append(f"{path} is not valid TOML: {error}")
    else:
        for key, value in entries.items():
            _read_entry(file, f"{path}{_line_of(key, text)}", key, value)
    return file


def _read_entry(file: ConfigFile, source: str, key: str, value: Any) -> None:
    name = f"{source}: {key}"
    option = _OPTIONS.get(key)
    if option is None:
        file.unknown.append(f"{name} {_unknown(key, value)}")
        return
    try:
        file.values[key] = option.read(name, _text(option, name, value))
    except BadSetting as error:
        file.faults.append(error.detail)
    file.sources[key] = source


def _text(option: Option, name: str, value: Any) -> str:
    """Return a value as its flag takes it; raises `BadSetting` for a wrong type."""
    is_switch = isinstance(option.default, bool)
    match value:
        case str():
            return value
        case bool():
            if is_switch:
                return str(value).lower()
        case int() | float():
            if isinstance(option.default, int | float) and not is_switch:
                return str(value)
        case list():
            if option.several and all(isinstance(part, str) for part in value):
                return ",".join(value) or OFF
    raise BadSetting(f"{name}: must be {_type(option)}")


def _type(option: Option) -> str:
    if isinstance(option.default, bool):
        return "true or false, without quotes"
    if isinstance(option.default, int | float):
        return "a number"
    return "text in quotes" + (", or a list of texts" if option.several else "")


def _unknown(key: str, value: Any) -> str:
    if isinstance(value, dict):
        return "is a table, and settings are in none; write them without [...]"
    name = key.lower().replace("-", "_").removeprefix("registry_")
    close = difflib.get_close_matches(name, _OPTIONS, n=1)
    return "is not a setting" + (f"; did you mean {close[0]}?" if close else "")


def _line_of(key: str, text: str) -> str:
    """Return the line of a key as ``:3``; empty if it is written in a rare way."""
    written = re.compile(rf"^[ \t\[]*[\"']?{re.escape(key)}[\"']?[ \t]*[=.\]]", re.M)
    match = written.search(text)
    return f":{text.count(chr(10), 0, match.start()) + 1}" if match else ""
