"""The replies: every field with its limits, its description and an example.

OpenAPI's schemas are generated from these structs, and a reply that is not joined
from rendered pieces is built as one of them.
"""
