"""The command ``watch``: services and events, live."""
