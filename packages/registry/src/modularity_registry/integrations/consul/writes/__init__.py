"""How services and their checks are registered and reported."""
