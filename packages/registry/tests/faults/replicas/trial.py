"""What services do while something is done to a replica, and what must hold."""

import os
import threading
import time
from contextlib import AbstractContextManager, closing

from faults.replicas.fleet import INTERVAL, Fleet
from faults.replicas.providers import BRIEF, BRIEF_TTL, TTL, Providers
from faults.replicas.witness import TIMEOUT, Witness
from modularity_client import Registry
from support.registry import eventually

SECONDS = float(os.environ.get("FAULTS_SECONDS", "0"))

LOST = 6.0
"""Seconds after which the others know that a replica is lost (docs/replicas.md)."""

GRACE = 4.0
"""What a lease has beside its term (docs/replicas.md)."""

LEAST = 8.0
"""What a lease and its grace last at least."""

BUSY = 8.0
"""What a machine that does other work may add, in seconds."""

DEAD = LOST + 4 * 1.1 * INTERVAL + BUSY
"""When a service is unhealthy that died with the replica that checks it: the others
know of the loss, check it within an interval, and three times (docs/health.md)."""

SILENT = LOST + 2 * TTL + GRACE + BUSY
"""When one is whose heartbeats end: a loss gives it a full term again."""

REMOVED = 10 * BRIEF_TTL + LEAST + BUSY
"""When one is removed: ten terms after it ended, or after replicas came or went."""

UNREGISTERED = 2.0 + BUSY


def trial(
    name: str, fleet: Fleet, fault: AbstractContextManager[None], least: float = 0.0
) -> None:
    """Let services end while ``fault`` holds, at least so many seconds, and after it.

    The fault is one of the first replica, or of all in turn. Prints the figures.
    """
    first = fleet.replicas[0]
    # Of a few, three replicas might divide all among two.
    with Registry(fleet.urls) as registry, closing(Providers(40, 4)) as providers:
        providers.register(registry)
        fleet.wait_until_settled()
        eventually(lambda: len(fleet.owned_by(first, providers.checked)) > 0)
        own = fleet.owned_by(first, providers.checked)
        others = sorted(set(providers.checked) - set(own))
        with closing(Witness(fleet, providers)) as witness:
            begun = time.monotonic()
            with fault:
                dead = [own[0], others[0]]
                silent = ["leased-0", BRIEF]
                for service_id in dead + silent:
                    providers.die(service_id)
                providers.leave(registry, others[1])
                told = dead + silent
                eventually(lambda: all(map(witness.verdict, told)), SILENT)
                left = begun + least - time.monotonic()
                threading.Event().wait(max(0.0, left))
            fleet.wait_until_settled()
            lasted = time.monotonic() - begun
            dead.append(others[2])
            providers.die(others[2])
            eventually(lambda: witness.verdict(others[2]) is not None, DEAD)
            eventually(lambda: witness.verdict(BRIEF, "unregistered") is not None)
            assert (witness.verdict(BRIEF, "unregistered") or 0) < lasted + REMOVED
            fleet.wait_until_settled()
        report(name, lasted, witness)
        judge(witness, dead, silent, others[1])


def judge(
    witness: Witness, dead: list[str], silent: list[str], unregistered: str
) -> None:
    """Fail unless all that is promised holds."""
    assert witness.failures == []
    assert witness.false_verdicts() == []
    assert witness.doubled() == []
    assert witness.longest["all"] < TIMEOUT
    limits = dict.fromkeys(dead, DEAD) | dict.fromkeys(silent, SILENT)
    for service_id, limit in limits.items():
        assert (witness.verdict(service_id) or limit) < limit, service_id
    limits[unregistered] = UNREGISTERED
    late = {k: v for k, v in witness.served.items() if v > limits[k]}
    assert late == {}


def report(name: str, lasted: float, witness: Witness) -> None:
    """Print the figures."""
    answers = sum(witness.answers.values())
    verdicts = {
        verdict: witness.verdict(*verdict[:2])
        for verdict in sorted(witness.verdicts)
        if verdict.service_id in witness.gone
    }
    print(
        f"{name}: lasted {lasted:.0f} s; {answers} answers,"
        f" {len(witness.failures)} failures;"
        f" longest without an answer of any replica {witness.longest['all']:.2f} s"
    )
    print(f"  each replica, while nothing was done to it: {witness.gaps()}")
    for verdict, seconds in verdicts.items():
        served = witness.served.get(verdict.service_id, 0.0)
        print(
            f"  {verdict.service_id} {verdict.kind} after {seconds:.1f} s;"
            f" given out for {served:.1f} s"
        )
    print(
        f"  {len(witness.verdicts)} events of verdicts,"
        f" {len(witness.false_verdicts())} false, {len(witness.doubled())} twice"
    )
