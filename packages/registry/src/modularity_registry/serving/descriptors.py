"""File descriptors: room for them before the start, and a word when they run out.

Each connection takes one. So do checks, stores, logs and DNS: a share of the limit is
theirs.
"""

import asyncio
import errno
import logging
import os
from dataclasses import replace
from typing import Any

from modularity_registry.config import Settings
from modularity_registry.errors import BadSetting

try:
    import resource
except ImportError:  # Windows, which has no such limit
    resource = None  # type: ignore[assignment]

_log = logging.getLogger(__name__)

_LARGEST_RESERVE = 1024
# Connections that are not through their handshake count among no others.
_HANDSHAKES = 16_384
_EXHAUSTED = (errno.EMFILE, errno.ENFILE)
_FAULT = (
    "out of file descriptors: new connections are refused; raise the limit (ulimit -n)"
    " or lower --max-connections"
)


def fitted(settings: Settings) -> Settings:
    """Return the settings with limits that leave room for other files.

    Limits that nobody has set are lowered in proportion, which is logged. Those that
    somebody has set stay, and `make_room` says whether they fit.
    """
    if resource is None:
        return settings
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    defaults = Settings()
    limits = settings.max_watchers, settings.max_connections
    if limits != (defaults.max_watchers, defaults.max_connections):
        return settings
    total = sum(limits)
    if hard == resource.RLIM_INFINITY or total + _reserve(hard) <= hard:
        return settings
    room = hard - _reserve(hard)
    watchers, connections = (max(1, limit * room // total) for limit in limits)
    _log.warning(
        "this process may open only %d files, so --max-watchers is %d and"
        " --max-connections %d; for more, raise the limit (ulimit -n)",
        hard,
        watchers,
        connections,
    )
    return replace(settings, max_watchers=watchers, max_connections=connections)


def _reserve(most: float) -> int:
    return int(min(_LARGEST_RESERVE, most // 4))


def make_room(connections: int, tls: bool) -> None:
    """Let this process and its children hold ``connections``, streams among them.

    Raises `BadSetting` when the hard limit of descriptors leaves no room for them.
    """
    if resource is None:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = float("inf") if hard == resource.RLIM_INFINITY else hard
    reserve = _reserve(most)
    if connections + reserve > most:
        raise BadSetting(
            f"{connections} connections and streams and {reserve} other files are"
            f" more than this process may open ({hard}); raise the limit (ulimit -n),"
            " or lower --max-connections or --max-watchers"
        )
    wanted = int(min(connections + reserve + (_HANDSHAKES if tls else 0), most))
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class DescriptorWatch:
    """Notices that descriptors have run out, and that there are some again.

    ``fault`` is a reason to be degraded, None while all is well. On uvloop nothing else
    tells: it closes new connections without a word. asyncio's loop leaves them in the
    queue, and calls its exception handler once a second for each place in it.
    """

    def __init__(self) -> None:
        self.fault: str | None = None

    def look(self) -> None:
        """Try to open a file; call this about once a second."""
        try:
            os.close(os.open(os.devnull, os.O_RDONLY))
        except OSError as error:
            if error.errno in _EXHAUSTED:
                self._notice()
            return
        if self.fault is not None:
            self.fault = None
            _log.info("there are file descriptors again")

    def on_exception(
        self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]
    ) -> None:
        """Take the place of ``loop``'s exception handler."""
        error = context.get("exception")
        if isinstance(error, OSError) and error.errno in _EXHAUSTED:
            self._notice()
        else:
            loop.default_exception_handler(context)

    def _notice(self) -> None:
        if self.fault is None:
            self.fault = _FAULT
            _log.error(_FAULT)
