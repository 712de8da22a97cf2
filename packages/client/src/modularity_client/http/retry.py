"""How a call is made: which URL, how often, how long. Decides, and touches nothing.

`attempts` is a generator that a driver runs: it yields what to do (`Send`, `Pause`)
and is sent what came of it. There is one driver for threads and one for asyncio.
"""

import random
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from modularity_client.errors import (
    NotFound,
    RegistryError,
    RegistryUnreachable,
    StoreUnavailable,
)
from modularity_client.http.call import Call, Reply
from modularity_client.http.credentials import Credentials
from modularity_client.http.endpoints import Endpoints

ROUNDS = 3
"""So often are all URLs asked, at most, before a call is given up."""

PAUSE, LONGEST_PAUSE = 0.1, 2.0
"""Seconds: the bound of the first pause between two rounds, which doubles."""

# A proxy's, or a registry's that does not serve: nobody there has an answer.
GATEWAY = frozenset({502, 503, 504})
# Refused before anything was done, whatever the call.
UNTOUCHED = frozenset({"not_ready", "too_many_uploads", "too_many_requests"})


@dataclass(frozen=True, slots=True)
class Send:
    """Make one request. ``connect`` and ``read`` are seconds.

    Whatever comes after ``deadline`` (seconds, monotonic) is too late.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None
    connect: float
    read: float
    deadline: float


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait for so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Failure:
    """There was no reply. Unless ``sent``, the request surely never arrived."""

    message: str
    sent: bool


ResultT = TypeVar("ResultT")
Attempts = Generator[Send | Pause, Reply | Failure | None, ResultT]


@dataclass(slots=True)
class _Log:
    """What came of the attempts so far."""

    tried: list[tuple[str, str]] = field(default_factory=list)
    sent: bool = False
    refusal: RegistryError | None = None

    def error(self) -> RegistryError:
        """Return why the call is given up: a reply says more than none."""
        return self.refusal or RegistryUnreachable(self.tried, sent=self.sent)


def attempts(
    call: Call[ResultT],
    endpoints: Endpoints,
    clock: Callable[[], float],
    timeout: float,
    credentials: Credentials,
) -> Attempts[ResultT]:
    """Make the call within ``timeout`` (seconds), on top of what it waits by itself.

    Returns its result; raises the `RegistryError` of the reply, `RegistryUnreachable`
    when there is none, `BadReply` when it makes no sense.
    """
    log = _Log()
    waits_until = clock() + (call.wait or 0.0)
    deadline = waits_until + timeout
    for round_ in range(ROUNDS if call.patient else 1):
        if round_:
            pause = _pause(round_, log.refusal)
            if clock() + pause >= deadline:
                break
            yield Pause(pause)
        urls = endpoints.order(clock())
        for left in range(len(urls), 0, -1):
            url, now = urls[-left], clock()
            if now >= deadline:
                break
            wait = max(0.0, waits_until - now) if call.wait is not None else None
            times = (now, deadline, left)
            shown = credentials.headers()
            outcome = yield _send(call, url, shown, wait, times)
            if _refused(outcome) and credentials.changed_since(shown):
                # It was rotated meanwhile. Whoever is refused has done nothing.
                shown = credentials.headers()
                outcome = yield _send(call, url, shown, wait, times)
            if isinstance(outcome, Reply) and outcome.status < 400:
                endpoints.worked(url)
                return call.read(outcome)
            done = _settle(call, outcome, url, endpoints, clock(), log)
            if done is not None:
                return done
    raise log.error()


def _send(
    call: Call[Any],
    url: str,
    headers: Mapping[str, str],
    wait: float | None,
    times: tuple[float, float, int],
) -> Send:
    now, deadline, left = times
    spare = deadline - now - (wait or 0.0)
    # One that hangs must not use up the time of those that are left to ask.
    share = spare / left
    return Send(
        method=call.method,
        url=url + call.target(wait),
        headers={**headers, **call.headers},
        body=call.body,
        connect=share,
        read=(wait or 0.0) + (share if call.repeat else spare),
        deadline=deadline,
    )


def _refused(outcome: Reply | Failure | None) -> bool:
    return isinstance(outcome, Reply) and outcome.status == 401


def _settle(
    call: Call[ResultT],
    outcome: Reply | Failure | None,
    url: str,
    endpoints: Endpoints,
    now: float,
    log: _Log,
) -> ResultT | None:
    """Note what went wrong; return the result if it is one after all.

    Raises the error when asking again, here or elsewhere, is of no use or not safe.
    """
    assert outcome is not None, "a Send is answered with a reply or a failure"
    if isinstance(outcome, Failure):
        endpoints.failed(url, now)
        log.tried.append((url, outcome.message))
        log.sent = log.sent or outcome.sent
        if outcome.sent and not call.repeat:
            raise log.error()
        return None
    error = outcome.error()
    log.tried.append((url, error.detail))
    if isinstance(error, NotFound) and log.sent and call.gone is not None:
        # The lost reply was to the call that did it.
        return call.gone
    if _away(error):
        endpoints.failed(url, now)
    else:
        endpoints.worked(url)
    if not _again(error, call):
        raise error
    log.refusal = error
    return None


def _away(error: RegistryError) -> bool:
    """Say whether the reply is that of a server which can't answer anybody."""
    if error.code == "not_ready":
        return True
    return error.status in GATEWAY and error.code in ("", "service_unavailable")


def _again(error: RegistryError, call: Call[Any]) -> bool:
    """Say whether it is of use and safe to ask again after this reply."""
    if error.code in UNTOUCHED or error.status == 429:
        return True
    if error.code == "too_many_watchers":
        return True  # another one may have a place
    # A store that timed out may have taken the write after all.
    return call.repeat and (_away(error) or isinstance(error, StoreUnavailable))


def _pause(round_: int, refusal: RegistryError | None) -> float:
    """Return how long to wait: full jitter, but not less than what was asked for."""
    bound = min(LONGEST_PAUSE, PAUSE * 2 ** (round_ - 1))
    asked = (refusal.retry_after if refusal else None) or 0.0
    return asked + random.uniform(0.0, bound)
