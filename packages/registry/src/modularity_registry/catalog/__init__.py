"""The view in memory that answers every read."""
