"""Bodies of registrations.

The quick decoder takes nothing that the models refuse, and reads what it takes as they
do. They refuse by `InvalidRequest` alone, and what they take is taken again when it is
written as JSON.
"""

from unittest.mock import patch

from modularity_registry import schema
from modularity_registry.errors import InvalidRequest
from modularity_registry.model.service import RegistrationRequest
from modularity_registry.schema import registration_decoder


def check(data: bytes) -> None:
    """Raise unless both read the body ``data`` alike."""
    quick = registration_decoder.decode(data)
    with patch.object(registration_decoder, "decode", lambda _: None):
        try:
            slow = schema.parse_registration_request(data)
        except InvalidRequest as error:
            assert quick is None, error.detail
            assert error.detail
            return
        assert quick is None or _written(quick) == _written(slow)
        again = schema.parse_registration_request(_body(slow))
    assert _written(again) == _written(slow)


def _written(request: RegistrationRequest) -> bytes:
    return schema.encode([request.registration, request.owner_key, request.instance])


def _body(request: RegistrationRequest) -> bytes:
    """Return the body that asks for ``request``."""
    fields = schema.decode_object(schema.encode(request.registration))
    if not fields.get("checks"):
        fields.pop("checks", None)
    fields = {name: value for name, value in fields.items() if value is not None}
    fields["owner_key"], fields["instance"] = request.owner_key, request.instance
    return schema.encode(fields)
