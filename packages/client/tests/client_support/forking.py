"""Forks in the middle of what a client does; the tests run it and read what it prints.

A process of its own: a fork of the tests would run their cleaning up as well.
"""

import os
import sys
import threading
from typing import Any

from modularity_client import Membership, Registry


def share(url: str) -> None:
    """Parent and child ask with one object, at the same time."""
    registry = Registry(url)
    registry.stats()  # there is a connection to be shared
    child = os.fork()
    mine = "child" if child == 0 else "parent"
    for number in range(100):
        service_id = f"{mine}-{number}"
        registry.put(**_service(service_id))
        assert registry.service(service_id).id == service_id
    registry.close()
    if child == 0:
        sys.exit(0)
    _, status = os.waitpid(child, 0)
    print("child", os.waitstatus_to_exitcode(status))


def inherit(url: str) -> None:
    """The child of a member ends in every way that a program does."""
    with Registry(url).join(**_service("member"), ttl=1.5) as membership:
        assert membership.registered
        child = os.fork()
        if child == 0:
            assert _refuses(membership)
            assert not membership.registered
            membership.leave()
            sys.exit(0)  # through the context, and through atexit
        _, status = os.waitpid(child, 0)
        print("child", os.waitstatus_to_exitcode(status), flush=True)
        # The parent's heartbeats go on: its lease would end without them.
        threading.Event().wait(3)
        print("status", Registry(url).service("member").status, flush=True)


def _refuses(membership: Membership) -> bool:
    try:
        membership.report(unhealthy=True)
    except RuntimeError:
        return True
    return False


def _service(service_id: str) -> dict[str, Any]:
    service = {"name": "A", "capabilities": ["x"], "location": "y", "mode": "ipc"}
    return {"id": service_id, **service}


if __name__ == "__main__":
    {"share": share, "inherit": inherit}[sys.argv[1]](sys.argv[2])
