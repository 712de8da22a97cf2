"""A registry that asks for tokens, and what the tests of them have in common."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from client_support.harness import RegistryProcess
from modularity_client import Registry
from modularity_registry import tokens
from modularity_registry.model.rights import Right, TokenRequest
from modularity_registry.tokens import FileTokenBackend

FIELDS: dict[str, Any] = {
    "id": "member",
    "name": "A",
    "capabilities": ["x"],
    "location": "y",
    "mode": "ipc",
    "ttl": 1.5,
}
KEY, OTHER_KEY = "0123456789abcdef", "fedcba9876543210"


class Closed(RegistryProcess):
    """A registry that takes tokens; ``admin`` is one that may do everything."""

    def __init__(self, folder: Path) -> None:
        file = folder / "tokens.json"
        super().__init__("--auth", "--tokens-file", str(file))
        wish = TokenRequest("boss", frozenset({Right.ADMIN}))
        made = tokens.create(FileTokenBackend(str(file)), wish, datetime.now(UTC))
        self.admin = made.text

    def token(self, name: str, *rights: str, **more: Any) -> str:
        with Registry(self.url, self.admin) as registry:
            return registry.create_token(name, rights=rights, **more).text

    def found(self, service_id: str) -> Any:
        """The service as an admin sees it; None if it isn't there."""
        with Registry(self.url, self.admin) as registry:
            listed = [each for each in registry.services() if each.id == service_id]
        return listed[0] if listed else None
