"""The reference: pages about what the code defines, written from the code itself."""

from collections.abc import Callable, Mapping
from typing import Final

from reference import client, commands, errors, http_api, metrics, settings

PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "settings": settings.page,
    "commands": commands.page,
    "http-api": http_api.page,
    "errors": errors.page,
    "metrics": metrics.page,
    "client": client.page,
}
"""Each page's name, and what returns its Markdown."""
