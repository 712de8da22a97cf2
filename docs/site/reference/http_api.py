"""Every call of the HTTP API."""

from typing import Any

from modularity_registry.api.openapi.document import document
from modularity_registry.api.openapi.errors import REFUSALS
from reference.markdown_text import code, table


def page() -> str:
    """Return the page of all calls, by subject."""
    api = document()
    sections = []
    for tag in api["tags"]:
        rows = [
            (
                code(f"{method.upper()} {path}"),
                call["summary"],
                _statuses(call, "23"),
                _statuses(call, "45"),
            )
            for path, calls in api["paths"].items()
            for method, call in calls.items()
            if tag["name"] in call["tags"]
        ]
        header = ("call", "what it does", "success", "errors")
        sections.append(
            f"## {tag['name']}\n\n{tag['description']}\n\n{table(header, rows)}"
        )
    return f"""# HTTP calls

[HTTP API](../docs/api.md) describes fields, filters and waits, and [Errors](errors.md)
the {len(REFUSALS)} codes behind the statuses. A running registry has all of this as an
OpenAPI document at `/openapi.json`, and at `/docs` a page to read it and try calls out.

""" + "\n".join(sections)


def _statuses(call: dict[str, Any], classes: str) -> str:
    """Return the statuses of a call's replies that begin with one of these digits."""
    return ", ".join(status for status in call["responses"] if status[0] in classes)
