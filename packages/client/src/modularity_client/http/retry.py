"""How a call is retried: at which URL, how often, how long. Does no I/O.

`attempts` is a generator that a driver runs: it yields what to do (`Send`, `Pause`)
and receives the outcome. There is one driver for threads and one for asyncio.
"""

import random
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from modularity_client.errors import (
    NotFound,
    OutcomeUnknown,
    RegistryError,
    RegistryUnreachable,
    StoreUnavailable,
)
from modularity_client.http.call import Call, Reply
from modularity_client.http.credentials import Credentials
from modularity_client.http.endpoints import Endpoints

ROUNDS = 3
"""Times that all URLs are tried before a call fails."""

PAUSE, LONGEST_PAUSE = 0.1, 2.0
"""Seconds: the longest first pause between two rounds, and the longest of all."""

# From a proxy, or from a server that is starting or stopping.
GATEWAY = frozenset({502, 503, 504})
# Refused before anything was done, whatever the call.
UNTOUCHED = frozenset(
    {"not_ready", "too_many_connections", "too_many_uploads", "too_many_requests"}
)


@dataclass(frozen=True, slots=True)
class Send:
    """Make one request. ``connect`` and ``read`` are seconds.

    A reply after ``deadline`` (seconds, monotonic) is too late.
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
    """Wait for this many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Failure:
    """There was no reply. Unless ``sent``, the request never arrived."""

    message: str
    sent: bool


ResultT = TypeVar("ResultT")
Attempts = Generator[Send | Pause, Reply | Failure | None, ResultT]


@dataclass(slots=True)
class _History:
    """The outcomes of the attempts so far."""

    attempts: list[tuple[str, str]] = field(default_factory=list)
    sent: bool = False
    refusal: RegistryError | None = None

    def error(self) -> RegistryError:
        """Return why the call failed: the last refusal, if there was any reply."""
        return self.refusal or RegistryUnreachable(self.attempts, sent=self.sent)


def attempts(
    call: Call[ResultT],
    endpoints: Endpoints,
    clock: Callable[[], float],
    timeout: float,
    credentials: Credentials,
) -> Attempts[ResultT]:
    """Make the call within ``timeout`` seconds, plus its ``wait``.

    Returns its result; raises the `RegistryError` of the reply, `RegistryUnreachable`
    if there is none, `BadReply` if it is not from a registry.
    """
    history = _History()
    waits_until = clock() + (call.wait or 0.0)
    deadline = waits_until + timeout
    for round_ in range(ROUNDS if call.patient else 1):
        if round_:
            pause = _pause(round_, history.refusal)
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
            outcome = yield from _attempt(call, url, credentials, wait, times)
            if isinstance(outcome, Reply) and outcome.status < 400:
                endpoints.worked(url)
                return call.read(outcome)
            now = clock()
            result = _handle_failure(call, outcome, url, endpoints, now, history)
            if result is not None:
                return result
    raise history.error()


def _attempt(
    call: Call[Any],
    url: str,
    credentials: Credentials,
    wait: float | None,
    times: tuple[float, float, int],
) -> Attempts[Reply | Failure | None]:
    headers = credentials.headers()
    outcome = yield _send(call, url, headers, wait, times)
    if _refused(outcome) and credentials.changed_since(headers):
        # The token was rotated. A refused call has done nothing, so repeat it.
        outcome = yield _send(call, url, credentials.headers(), wait, times)
    return outcome


def _send(
    call: Call[Any],
    url: str,
    headers: Mapping[str, str],
    wait: float | None,
    times: tuple[float, float, int],
) -> Send:
    now, deadline, left = times
    spare = deadline - now - (wait or 0.0)
    # A URL that hangs must not use up the time of the URLs that are left.
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


def _handle_failure(
    call: Call[ResultT],
    outcome: Reply | Failure | None,
    url: str,
    endpoints: Endpoints,
    now: float,
    history: _History,
) -> ResultT | None:
    """Note the failure; return the result if a lost reply turns out as success.

    Raises the error if a retry, at any URL, is useless or not safe.
    """
    assert outcome is not None, "a Send is answered with a reply or a failure"
    if isinstance(outcome, Failure):
        endpoints.failed(url, now)
        history.attempts.append((url, outcome.message))
        history.sent = history.sent or outcome.sent
        if outcome.sent and not call.repeat:
            raise history.error()
        return None
    error = outcome.error()
    history.attempts.append((url, error.detail))
    history.sent = history.sent or isinstance(error, OutcomeUnknown)
    if isinstance(error, NotFound) and history.sent and call.gone is not None:
        # The attempt whose reply was lost did it.
        return call.gone
    if _is_unavailable(error):
        endpoints.failed(url, now)
    else:
        endpoints.worked(url)
    if not _may_retry(error, call):
        raise error
    history.refusal = error
    return None


def _is_unavailable(error: RegistryError) -> bool:
    """Return whether the reply is from a server that can't serve any call."""
    if error.code == "not_ready":
        return True
    return error.status in GATEWAY and error.code in ("", "service_unavailable")


def _may_retry(error: RegistryError, call: Call[Any]) -> bool:
    """Return whether a retry after this reply is useful and safe."""
    if error.code in UNTOUCHED or error.status == 429:
        return True
    if error.code == "too_many_watchers":
        return True  # another replica may have a free place
    # An earlier registry says that the store is away when a write may have been made.
    return call.repeat and (
        _is_unavailable(error) or isinstance(error, StoreUnavailable)
    )


def _pause(round_: int, refusal: RegistryError | None) -> float:
    """Return the seconds to wait: full jitter, after ``retry_after``."""
    bound = min(LONGEST_PAUSE, PAUSE * 2 ** (round_ - 1))
    retry_after = (refusal.retry_after if refusal else None) or 0.0
    return retry_after + random.uniform(0.0, bound)
