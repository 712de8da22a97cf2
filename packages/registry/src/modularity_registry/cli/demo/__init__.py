"""The command ``demo``: a small shop of services that call each other."""
