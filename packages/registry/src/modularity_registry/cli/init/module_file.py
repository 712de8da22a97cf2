"""The text of a new module, from a template for its framework."""

import builtins
import keyword
import re
from dataclasses import dataclass
from importlib.resources import files
from string import Template
from typing import Final

REQUIREMENTS: Final = {
    "flask": "modularity-client[flask]",
    "fastapi": "modularity-client[fastapi]",
    "plain": "modularity-client",
}
"""By framework, what to install. ``plain`` is the standard library's HTTP server."""

TAKEN: Final = {
    *keyword.kwlist,
    *dir(builtins),
    *("app", "contract", "main", "module", "os", "suppress"),
}
"""Names that a function of a template must not have."""


@dataclass(frozen=True, slots=True)
class NewModule:
    """A module to write; all its fields are valid."""

    id: str
    capability: str
    port: int
    framework: str

    @property
    def name(self) -> str:
        """The name for people: ``price-list`` is ``Price list``."""
        words = re.sub(r"[._:-]+", " ", self.id).strip()
        return words[:1].upper() + words[1:]

    @property
    def location(self) -> str:
        """The URL where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def text(self) -> str:
        """Return the Python source of the module."""
        path = files(__package__) / "templates" / f"{self.framework}.txt"
        return Template(path.read_text("utf-8")).substitute(
            id=self.id,
            name=self.name,
            capability=self.capability,
            function=function_name(self.capability),
            port=self.port,
        )


def function_name(capability: str) -> str:
    """Return a name for the function that provides a capability."""
    name = re.sub(r"\W+", "_", capability.lower())
    usable = name.isidentifier() and name not in TAKEN
    return name if usable else f"handle_{name}"
