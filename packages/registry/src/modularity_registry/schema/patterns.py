"""The patterns of texts in requests, as JSON Schema and Python's ``re`` read them."""

import re
from unicodedata import category

ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._:\-]{0,127}$"
# As the value of a label in Kubernetes, which names zones and regions so.
ZONE_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._\-]{0,62}$"
# Where a caller is: a zone, or the region that it is in before it.
_ZONE = ZONE_PATTERN.strip("^$")
PLACE_PATTERN = rf"^(({_ZONE})/)?({_ZONE})$"
# As it can stand in a path: clients and proxies take out what is "." or ".." or nothing
# between slashes (RFC 3986, section 5.2.4), and would ask for another capability.
_SEGMENT = r"(\.?[A-Za-z0-9_:\-]|\.\.[A-Za-z0-9._:\-])[A-Za-z0-9._:\-]*"
CAPABILITY_PATTERN = rf"^[A-Za-z0-9][A-Za-z0-9._:\-]*(/{_SEGMENT})*$"
LONGEST_CAPABILITY = 128
NAMESPACE_PATTERN = r"^[a-z0-9][a-z0-9\-]{0,62}$"
CHECK_NAME_PATTERN = r"^[a-z0-9][a-z0-9\-]{0,63}$"
HOST_NAME_PATTERN = r"^([A-Za-z0-9]([A-Za-z0-9.\-]*[A-Za-z0-9])?)?$"
# As it can stand in a header: printable ASCII without blanks.
KEY_PATTERN = r"^[\x21-\x7e]*$"
# No control characters and no lone surrogates: neither can be shown or stored.
TEXT_PATTERN = r"^[^\x00-\x1f\x7f]*$"

# Controls, formats, surrogates, marks, separators. What this Python does not know may
# be anything.
_INVISIBLE = re.compile("C[cfs]|M|Z").match
# Letters that are drawn as nothing.
_FILLERS = "\u115f\u1160\u3164\uffa0\u2800"


def whole(pattern: str) -> str:
    """Return ``pattern`` for what searches with Python's ``re``, such as msgspec.

    There, ``$`` also stands before a line end that is last.
    """
    return pattern.removesuffix("$") + r"\Z"


def is_blank(text: str) -> bool:
    """Say whether nothing of a text can be seen, as with spaces and zero widths."""
    return not any(
        letter not in _FILLERS and not _INVISIBLE(category(letter)) for letter in text
    )


# Locations and health paths as `address_policy` parses them: paths are
# percent-encoded and have no . or .. parts. A pattern can't tell which names and
# addresses exist, so these only describe what `address_policy` enforces.
_PCHAR = r"[A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2}"
_NO_DOTS = r"(?![^?]*/(\.|%2[eE]){1,2}(/|\?|$))"
HEALTH_PATH_PATTERN = rf"^{_NO_DOTS}/({_PCHAR}|/)*(\?({_PCHAR}|[/?])*)?$"
# No \s, which engines read in different ways.
_AUTHORITY = r"[A-Za-z0-9._\-\[\]:]+"
LOCATION_PATTERNS = {
    "http": rf"^https?://{_AUTHORITY}{_NO_DOTS}(/({_PCHAR}|/)*)?$",
    "tcp": rf"^tcp://{_AUTHORITY}:[1-9][0-9]{{0,4}}$",
    "grpc": rf"^grpc://{_AUTHORITY}:[1-9][0-9]{{0,4}}$",
}
"""The pattern of a location by mode, for the modes that are checked."""
