"""Files of pages, as they are sent: whole, or not at all if the caller has them."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from flask import Response

from modularity_registry.api import replies


@dataclass(frozen=True, slots=True)
class File:
    """A file's content, its media type, and a tag that changes with the content."""

    data: bytes
    kind: str
    tag: str

    @classmethod
    def of(cls, data: bytes, kind: str) -> "File":
        """Return a file with its tag."""
        return cls(data, kind, hashlib.sha256(data).hexdigest()[:20])

    def reply(self, headers: Mapping[str, str]) -> Response:
        """Return it with these headers; 304 when the caller has it already."""
        response = replies.unless_cached(self.tag, lambda: self.data, self.kind)
        response.headers["ETag"] = f'"{self.tag}"'
        response.headers.update(headers)
        return response
