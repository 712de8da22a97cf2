"""Programs that make calls, and what they measure."""
