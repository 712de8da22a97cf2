"""Stores of their own for the tests, and what stands before them."""
