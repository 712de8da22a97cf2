"""Envoy's resources for sidecars: made of their metadata and of the intentions."""
