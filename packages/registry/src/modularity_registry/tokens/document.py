"""A token as the HTTP API and the command line return it."""

from typing import Any

from modularity_registry.clock import maybe_rfc3339, rfc3339
from modularity_registry.model.rights import Token
from modularity_registry.tokens.issue import Issued


def token_document(token: Token) -> dict[str, Any]:
    """Return a token's public fields: neither its text nor its hash."""
    return {
        "name": token.name,
        "rights": list(token.rights),
        "ids": list(token.ids),
        "capabilities": list(token.capabilities),
        "created_at": rfc3339(token.created_at),
        "expires_at": maybe_rfc3339(token.expires_at),
        "former_until": maybe_rfc3339(token.former_until),
    }


def issued_document(issued: Issued) -> dict[str, Any]:
    """Return the same with the text, for the caller who created or rotated it."""
    return {"token": issued.text, **token_document(issued.token)}
