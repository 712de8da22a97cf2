"""What can go wrong between a registry and its upstream."""


class UpstreamAway(Exception):
    """An upstream can't be asked; the text says why."""
