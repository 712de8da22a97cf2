"""Requests at one registry: how many it answers, how fast, and what it can hold."""
