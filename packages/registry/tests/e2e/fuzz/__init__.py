"""Requests that nobody in their right mind sends, and what must come back.

``cases`` makes each ``request`` from the OpenAPI document; ``texts``, ``changes`` and
``broken`` spoil them, from their fields to the bytes on the line; ``replies`` reads and
judges what comes back; ``caller`` has the connections. ``benchmarks --only fuzz`` sends
them by the hundred thousand, `test_fuzz` a few.
"""
