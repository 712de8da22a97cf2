"""What has changed, as events: a bounded history, and the watchers of the next one.

A change is published in the writer's thread, which only notes it. Watchers whom it
concerns are woken by a thread of its own, each event rendered once for all of them.
"""

from modularity_registry.events.event import Event, Interest
from modularity_registry.events.hub import HISTORY, Hub
from modularity_registry.events.watcher import QUEUE, Watcher

__all__ = ["HISTORY", "QUEUE", "Event", "Hub", "Interest", "Watcher"]
