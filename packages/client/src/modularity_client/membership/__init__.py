"""Keeps a service registered for as long as its process lives."""
