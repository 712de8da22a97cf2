"""Every write, and the log of what it changed."""
