"""Runs as a process of its own: what a resolver does to one that forks, or ends."""

import json
import os
import sys

from modularity_client import Registry
from modularity_client.resolver.resolver import Resolver


def seen(resolver: Resolver) -> dict[str, object]:
    return {
        "state": resolver.state,
        "ids": [each.id for each in resolver.providers("forked")],
        "after": resolver.state,
    }


def fork(registry: Registry) -> None:
    """Print what a child sees, and what its parent still sees after the child."""
    resolver = Resolver(registry, "forked")
    resolver.resolve("forked")
    reader, writer = os.pipe()
    if os.fork() == 0:
        # The parent's view is of before this one.
        registry.put(
            id="second",
            name="x",
            capabilities=["forked"],
            location="here",
            mode="standalone",
        )
        os.write(writer, json.dumps(seen(resolver)).encode())
        resolver.close()
        os._exit(0)
    os.wait()
    changed: dict[str, object] = json.loads(os.read(reader, 10_000))
    print(json.dumps({"child": changed, "parent": seen(resolver)}))
    resolver.close()


def fork_away(registry: Registry) -> None:
    """Print what a child sees that can't reach the registry, which its parent could."""
    resolver = Resolver(registry, "forked")
    resolver.resolve("forked")
    print("ready", flush=True)
    sys.stdin.readline()  # the registry is killed
    if os.fork() == 0:
        first = resolver.resolve("forked")
        found = {"id": first.id, "age": resolver.age, "state": resolver.state}
        print(json.dumps(found), flush=True)
        os._exit(0)
    os.wait()


def leave(registry: Registry) -> None:
    """End without closing anything."""
    resolver = Resolver(registry, "forked", consumer_id="leaver")
    resolver.report_failure(resolver.resolve("forked"))
    print("{}")


if __name__ == "__main__":
    acts = {"fork": fork, "fork_away": fork_away, "leave": leave}
    acts[sys.argv[1]](Registry(sys.argv[2]))
