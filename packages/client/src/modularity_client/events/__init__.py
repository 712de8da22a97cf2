"""The registry's stream of events."""
