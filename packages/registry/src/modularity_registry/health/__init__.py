"""Health checks: when they run, what they find, what follows."""
