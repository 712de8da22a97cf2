"""Envoy's resources, made of the catalog. How they reach anybody is not known here."""
