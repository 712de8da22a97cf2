"""A table with a row for each route, and the row of the call that Flask is at."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Generic, TypeVar

from flask import Flask, request

RowT = TypeVar("RowT")

Route = tuple[str, str]
"""A method and a rule, as Flask has it."""

_PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")


@lru_cache
def template(rule: str) -> str:
    """Return a rule as people write it: ``/api/services/{service_id}``."""
    return _PARAMETER.sub(r"{\1}", rule)


class Table(Generic[RowT]):
    """The rows of an application's routes, none of which can be forgotten."""

    def __init__(self, app: Flask, rows: Mapping[Route, RowT], where: str) -> None:
        """Return it, after all routes are there.

        Raises `LookupError` for one that has no row, which belongs ``where``.
        """
        for rule in app.url_map.iter_rules():
            for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
                if (method, rule.rule) not in rows:
                    raise LookupError(f"{method} {rule.rule} has no row in {where}")
        self._rows = rows

    def row(self, default: RowT) -> RowT:
        """Return the row of the present call.

        ``default`` for one that no route is for, and for `OPTIONS`, which asks what
        there is. `HEAD` is a `GET`.
        """
        if request.url_rule is None or request.method == "OPTIONS":
            return default
        method = "GET" if request.method == "HEAD" else request.method
        return self._rows[method, request.url_rule.rule]
