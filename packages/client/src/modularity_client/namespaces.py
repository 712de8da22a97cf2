"""Which namespace of a registry calls are in, and the paths of calls there."""

import os
import re

NAMESPACE = "REGISTRY_NAMESPACE"
"""The environment variable with the namespace of this program's calls."""

DEFAULT = "default"
"""The name of the namespace of calls whose path names none."""

LIST = "/api/namespaces"
"""The path of the list of namespaces, the only one that is in none of them."""

_valid = re.compile(r"[a-z0-9][a-z0-9-]{0,62}").fullmatch


def find_namespace(namespace: str | None) -> str:
    """Return the namespace that is given, else that of the environment.

    It is empty for the default one. Raises `ValueError` for what is no name.
    """
    if namespace is None:
        namespace = os.environ.get(NAMESPACE)
    if not namespace or namespace == DEFAULT:
        return ""
    if not _valid(namespace):
        raise ValueError(
            f"namespace {namespace!r} must be a lower-case letter or digit, then"
            " lower-case letters, digits and hyphens, at most 63 in all; name one of"
            f" them, with namespace= or {NAMESPACE}"
        )
    return namespace


def path_in(namespace: str, path: str) -> str:
    """Return the path of a call in a namespace, by its path in the default one."""
    if not namespace or not path.startswith("/api/") or path == LIST:
        return path
    return f"/api/ns/{namespace}/{path.removeprefix('/api/')}"
