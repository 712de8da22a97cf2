"""Waits that are part of a fault: for how long something stays broken."""

import threading


def pause(seconds: float) -> None:
    """Return after ``seconds``."""
    threading.Event().wait(seconds)
