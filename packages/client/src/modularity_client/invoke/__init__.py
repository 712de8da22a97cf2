"""Calls to providers, with failover."""
