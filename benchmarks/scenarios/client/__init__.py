"""The client's own figures, and the first day of a newcomer."""
