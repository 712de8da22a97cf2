"""Proofs of reliability: what clients saw while something was broken, and its check."""
