"""What has changed, as events: a bounded history, and those who listen.

An event is rendered when somebody needs it, once for all who hear of it.
"""

from modularity_registry.events.event import KINDS, Event, Kind
from modularity_registry.events.hub import KEEP_ALIVE, Hub
from modularity_registry.events.interest import CHANGES, SERVICE_CHANGES, Interest
from modularity_registry.events.listener import Batch, Listener, chunk
from modularity_registry.events.places import WatcherPlaces
from modularity_registry.events.position import Position, position_of

__all__ = [
    "CHANGES",
    "KEEP_ALIVE",
    "KINDS",
    "SERVICE_CHANGES",
    "Batch",
    "Event",
    "Hub",
    "Interest",
    "Kind",
    "Listener",
    "Position",
    "WatcherPlaces",
    "chunk",
    "position_of",
]
