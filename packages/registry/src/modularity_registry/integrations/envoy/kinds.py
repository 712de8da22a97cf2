"""The four kinds of resources that Envoy asks for."""

from enum import Enum
from typing import Final

from google.protobuf.message import Message

TYPES: Final = "type.googleapis.com/"


def url_of(message: type[Message]) -> str:
    """Return how messages name a type of message that they hold."""
    return TYPES + message.DESCRIPTOR.full_name


class Kind(Enum):
    """A kind of resource; its value is the message's name.

    In the order in which they are sent: who refers to another comes after it.
    """

    CLUSTERS = "envoy.config.cluster.v3.Cluster"
    ENDPOINTS = "envoy.config.endpoint.v3.ClusterLoadAssignment"
    LISTENERS = "envoy.config.listener.v3.Listener"
    ROUTES = "envoy.config.route.v3.RouteConfiguration"

    # There is one of each: this is five times as fast as by its name.
    __hash__ = object.__hash__

    @property
    def type_url(self) -> str:
        """How messages name it."""
        return TYPES + self.value

    @property
    def label(self) -> str:
        """How people and paths name it, such as ``clusters``."""
        return self.name.lower()

    @property
    def comes_first(self) -> bool:
        """Whether others refer to it, and so have to wait for it."""
        return self in (Kind.CLUSTERS, Kind.ENDPOINTS)

    @property
    def complete(self) -> bool:
        """Whether a reply of the state of the world holds all, so that absence deletes.

        Of the other kinds, a reply holds what has changed.
        """
        return self in (Kind.CLUSTERS, Kind.LISTENERS)


BY_URL: Final = {kind.type_url: kind for kind in Kind}
"""The kinds, as messages name them."""
