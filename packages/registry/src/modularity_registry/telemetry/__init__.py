"""Logs, counters and timings of the registry itself."""
