"""Simulates many services and replicas on the registry's own rules."""
