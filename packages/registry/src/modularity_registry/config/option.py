"""One setting as it is written: its flag, its variable, its parser and its help."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from modularity_registry.config.settings import OFF, Settings
from modularity_registry.errors import BadSetting

_DEFAULTS: Final = Settings()

# A file, or an address and nothing more.
_WITHOUT_PASSWORD: Final = re.compile(
    r"off|memory://|sqlite://[^@?]*|[a-z]+://[\w.,:\[\]-]+"
)


@dataclass(frozen=True, slots=True)
class Option:
    """One setting: its field in `Settings`, its variable, its parser and its help.

    The value of a ``secret`` one may hold a password, so it is never printed. A
    ``several`` one takes a list, separated by commas.
    """

    field: str
    env: str
    parse: Callable[[str], Any]
    help: str
    secret: bool = False
    several: bool = False

    @property
    def flag(self) -> str:
        """Its flag on the command line."""
        return "--" + self.field.replace("_", "-")

    @property
    def default(self) -> Any:
        """Its value if nobody sets it."""
        return getattr(_DEFAULTS, self.field)

    def read(self, name: str, text: str) -> Any:
        """Return the value of ``text``, which was given as ``name``.

        Raises `BadSetting` with both of them, but never with what may be a secret.
        """
        try:
            return self.parse(text)
        except (ValueError, BadSetting) as error:
            detail = error.detail if isinstance(error, BadSetting) else str(error)
            # Nor is that of a mix-up: a URL with an @ may hold a password.
            hidden = self.secret or "@" in text
            setting = name if hidden else f"{name}={text!r}"
            raise BadSetting(f"{setting}: {detail}") from None

    def hides(self, value: Any) -> bool:
        """Return whether a value may hold a password, so that it is not printed."""
        text = written(value)
        suspect = self.secret or "@" in text
        return suspect and not _WITHOUT_PASSWORD.fullmatch(text)

    def shown(self, value: Any) -> str:
        """Return a value as `written`, but of one that it `hides` only the scheme."""
        text = written(value)
        scheme, separator, _ = text.partition("://")
        if not self.hides(value):
            return text
        return f"{scheme}://(hidden)" if separator and scheme.isalpha() else "(hidden)"


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
