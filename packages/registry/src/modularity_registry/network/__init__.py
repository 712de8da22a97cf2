"""Which addresses the registry listens on and connects to."""
