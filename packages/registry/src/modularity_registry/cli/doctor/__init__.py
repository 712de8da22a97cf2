"""The command ``doctor``: finds common faults and says how to fix them."""
