"""What can go wrong in the mesh alone, with the status of its reply."""

from http import HTTPStatus
from typing import ClassVar

from modularity_registry.errors import RegistryError


class MeshError(RegistryError):
    """Base of them."""

    status: ClassVar[HTTPStatus]


class IntentionNotFound(MeshError):
    """There is no such intention."""

    code = "intention_not_found"
    status = HTTPStatus.NOT_FOUND


class RotationUnderWay(MeshError):
    """The authority's root is being replaced already."""

    code = "rotation_under_way"
    status = HTTPStatus.CONFLICT
