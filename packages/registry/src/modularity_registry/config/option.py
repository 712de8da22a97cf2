"""One setting as it is written: its flag, its variable, its parser and its help."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from modularity_registry.config.settings import OFF, Settings

_DEFAULTS: Final = Settings()


@dataclass(frozen=True, slots=True)
class Option:
    """One setting: its field in `Settings`, its variable, its parser and its help.

    The value of a ``secret`` one may hold a password, so it is never printed.
    """

    field: str
    env: str
    parse: Callable[[str], Any]
    help: str
    secret: bool = False

    @property
    def flag(self) -> str:
        """Its flag on the command line."""
        return "--" + self.field.replace("_", "-")

    @property
    def default(self) -> Any:
        """Its value if nobody sets it."""
        return getattr(_DEFAULTS, self.field)


def written(value: Any) -> str:
    """Return a setting's value as its flag and its variable take it."""
    match value:
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}"
        case tuple() | frozenset():
            words = sorted(value) if isinstance(value, frozenset) else value
            return ",".join(words) or OFF
    return str(value)
