"""The other replicas over the same store, and whether this one's view is current."""
