"""The registry's replies, as frozen values."""
