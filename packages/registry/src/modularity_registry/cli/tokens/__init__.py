"""The commands ``token …``: create, list, rotate and revoke tokens."""
