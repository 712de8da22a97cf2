"""An hour of mixed load, and whether the registry needs more and more for it."""
