"""An audit to look into."""

import json
from pathlib import Path
from typing import Any

from modularity_registry.audit.reader import lines


def acts(path: Path) -> list[dict[str, Any]]:
    """All lines of an audit, the oldest first; every one of them can be read."""
    return [json.loads(each.data) for each in lines(path)] if path.exists() else []


def events(path: Path) -> list[str]:
    """What has happened, by the words for it."""
    return [each["event"] for each in acts(path)]
