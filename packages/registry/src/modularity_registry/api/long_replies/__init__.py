"""Replies that take their time, on the event loop: streams, waits, long lists."""
