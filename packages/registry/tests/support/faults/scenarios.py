"""Which store is broken in which way: the table of `faults/stores`."""

import random
import signal
from collections.abc import Callable
from typing import Any, NamedTuple

from support.faults import stores
from support.faults.pauses import pause

Break = Callable[[Any, float, random.Random], None]
"""Breaks a backend for some seconds, and mends it."""


def kill(store: Any, seconds: float, chance: random.Random) -> None:
    """SIGKILL, and a new start."""
    store.kill()
    pause(seconds)
    store.start()


def freeze(store: Any, seconds: float, chance: random.Random) -> None:
    """SIGSTOP, and SIGCONT."""
    store.signal(signal.SIGSTOP)
    pause(seconds)
    store.signal(signal.SIGCONT)


def cut(store: Any, seconds: float, chance: random.Random) -> None:
    """Connections are reset, and refused."""
    store.proxy.cut()
    pause(seconds)
    store.proxy.mend()


def cut_cable(store: Any, seconds: float, chance: random.Random) -> None:
    """All that the registry sends to the store is lost, without a word to it."""
    store.cable.cut()
    pause(seconds)
    store.cable.mend()


def silence(store: Any, seconds: float, chance: random.Random) -> None:
    """Connections stay, but nothing gets through."""
    store.proxy.hold()
    pause(seconds)
    store.proxy.mend()


def lose_replies(store: Any, seconds: float, chance: random.Random) -> None:
    """What is written arrives, but no reply does."""
    store.proxy.hold_replies_after(chance.randrange(20_000))
    pause(seconds)
    store.proxy.cut()
    store.proxy.mend()


def delay(store: Any, seconds: float, chance: random.Random) -> None:
    """Every piece of a reply is late."""
    store.proxy.delay = chance.uniform(0.05, 0.4)
    pause(seconds)
    store.proxy.mend()


def tear(store: Any, seconds: float, chance: random.Random) -> None:
    """Every connection is reset in the midst of a reply."""
    store.proxy.tear(chance.randrange(100, 10_000))
    pause(seconds)
    store.proxy.mend()


def half_close(store: Any, seconds: float, chance: random.Random) -> None:
    """One direction of every connection is closed."""
    store.proxy.half_close()
    pause(seconds)
    store.proxy.mend()


def fill(store: Any, seconds: float, chance: random.Random) -> None:
    """There is no room."""
    with store.full():
        pause(seconds)


def compact(store: Any, seconds: float, chance: random.Random) -> None:
    """The history is compacted, also while the watch is away."""
    store.compact()
    store.proxy.cut()
    store.compact()
    pause(seconds)
    store.proxy.mend()
    store.compact()


def kill_leader(store: Any, seconds: float, chance: random.Random) -> None:
    """SIGKILL to the member that leads, and a new start."""
    store.choose_leader()
    kill(store, seconds, chance)


def freeze_leader(store: Any, seconds: float, chance: random.Random) -> None:
    """SIGSTOP to the member that leads, and SIGCONT."""
    store.choose_leader()
    freeze(store, seconds, chance)


def promote(store: Any, seconds: float, chance: random.Random) -> None:
    """The primary is killed, and its standby takes over."""
    store.promote()


class Scenario(NamedTuple):
    """A row: ``short`` ones run always, others only with time for all.

    A ``lossy`` store may lose acknowledged writes: they are counted. ``once`` is for
    what can't be broken a second time. With a ``cable`` the registry is on a host of
    its own.
    """

    store: type[stores.Backend]
    fault: str
    break_it: Break
    short: bool = False
    lossy: bool = False
    once: bool = False
    cable: bool = False

    def __str__(self) -> str:
        return f"{self.store.kind}: {self.fault}"


_EVERYWHERE: dict[str, Break] = {
    "killed": kill,
    "frozen": freeze,
    "cut off": cut,
    "silent": silence,
    "replies lost": lose_replies,
    "slow": delay,
    "torn replies": tear,
    "half-closed": half_close,
}

_SHORT = {
    (stores.Etcd, "killed"),
    (stores.Etcd, "torn replies"),
    (stores.Redis, "frozen"),
    (stores.Redis, "replies lost"),
    (stores.Postgresql, "killed"),
    (stores.Postgresql, "half-closed"),
    (stores.Zookeeper, "cut off"),
    (stores.Consul, "cut off"),
}

SINGLE = (
    stores.Etcd,
    stores.Postgresql,
    stores.Redis,
    stores.Zookeeper,
    stores.Consul,
)

SCENARIOS = [
    *(
        Scenario(store, fault, break_it, (store, fault) in _SHORT)
        for store in SINGLE
        for fault, break_it in _EVERYWHERE.items()
    ),
    *(
        Scenario(store, "host cut off", cut_cable, store is stores.Etcd, cable=True)
        for store in SINGLE
    ),
    Scenario(stores.Etcd, "compacted", compact, short=True),
    Scenario(stores.Etcd, "out of space", fill),
    Scenario(stores.Redis, "out of memory", fill),
    Scenario(stores.RedisOnSmallDisk, "disk full", fill, short=True),
    Scenario(stores.EtcdOnSmallDisk, "disk full", fill),
    Scenario(stores.PostgresqlOnSmallDisk, "disk full", fill),
    Scenario(stores.ZookeeperOnSmallDisk, "disk full", fill),
    Scenario(stores.ConsulOnSmallDisk, "disk full", fill),
    Scenario(stores.EtcdCluster, "leader killed", kill_leader),
    Scenario(stores.EtcdCluster, "leader frozen", freeze_leader),
    Scenario(stores.ZookeeperEnsemble, "leader killed", kill_leader),
    Scenario(stores.ZookeeperEnsemble, "leader frozen", freeze_leader),
    Scenario(stores.ConsulCluster, "leader killed", kill_leader),
    Scenario(stores.ConsulCluster, "leader frozen", freeze_leader),
    Scenario(stores.PostgresqlSynchronous, "promoted", promote, once=True),
    Scenario(stores.PostgresqlStandby, "promoted", promote, lossy=True, once=True),
    Scenario(stores.RedisSentinel, "primary killed", kill, lossy=True),
]
