"""Every error code of the HTTP API."""

import modularity_client.errors as client_errors
from modularity_registry.api.openapi.errors import REFUSALS
from reference.markdown_text import WIDE, code, plain, sentence, table

_HEADER = (
    "code",
    "status",
    "when, with an example of the detail",
    "in the Python client",
)
_METHOD = ("method_not_allowed", 405, "the path has no such method", "")


def page() -> str:
    """Return the page of all error codes, by status."""
    refusals = [
        (name, int(refusal.status), refusal.when, refusal.example)
        for name, refusal in REFUSALS.items()
    ]
    raised = _classes()
    rows = [
        (
            code(name),
            str(status),
            sentence(when) + (f"<br>*{plain(example)}*" if example else ""),
            code(raised.get(name, "")),
        )
        for name, status, when, example in sorted(
            [*refusals, _METHOD], key=lambda refusal: (refusal[1], refusal[0])
        )
    ]
    return f"""{WIDE}
# Errors

An error is a problem as in RFC 9457, and nothing has changed when you get one, but for
`outcome_unknown`. Programs read `code`, which never changes; people read `detail`.
[HTTP API](../docs/api.md#errors) shows a whole reply, and says which to retry.

{table(_HEADER, rows)}"""


def _classes() -> dict[str, str]:
    """Return the client's class for each code."""
    classes: dict[str, str] = {}
    waiting = [client_errors.RegistryError]
    for kind in waiting:  # which grows meanwhile
        waiting += kind.__subclasses__()
        if kind.__module__ == client_errors.__name__:
            classes |= dict.fromkeys(kind.codes, kind.__name__)
    return classes
