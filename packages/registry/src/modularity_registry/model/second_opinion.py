"""Whether other replicas confirm that a service can't be reached, as pure functions."""

from collections.abc import Collection, Mapping
from typing import Final, Literal

import msgspec

UNANSWERED: Final = frozenset({"refused", "unreachable", "timeout", "dns"})
"""The outcomes of checks that may be due to the network between the two."""

PATIENCE: Final = 3
"""For how many terms (see `term`) other replicas may be silent."""

TRAVEL: Final = 1.0
"""Seconds that a question and its answer take through the store, at most."""

State = Literal["confirmed", "held", "alone"]


class Answer(msgspec.Struct, frozen=True, gc=False):
    """What another replica found, and when (seconds, monotonic) its word came.

    ``number`` is that of the question.
    """

    number: int
    failing: bool
    message: str
    at: float


class SecondOpinion(msgspec.Struct, frozen=True):
    """What the replicas say of a service that one of them can't connect to.

    ``answers`` are by replica; ``message`` is for people.
    """

    state: State
    message: str
    answers: Mapping[str, Answer]


def term(interval: float, timeout: float) -> float:
    """Return within how many seconds another replica should have answered.

    An interval of the check, or longer if the check may take longer than that.
    """
    return max(interval, timeout + TRAVEL)


def decide(
    answers: Mapping[str, Answer],
    witnesses: Collection[str],
    silent: float,
    term: float,
    now: float,
) -> State:
    """Return what follows from the answers to a failure to connect.

    ``witnesses`` are the replicas that could answer. ``silent`` is for how many seconds
    a question has been open without any answer. One failure within the last ``term``
    confirms it. If nobody answers for `PATIENCE` terms, or nobody could, the replica
    decides alone. Else nothing is decided.
    """
    if not witnesses:
        return "alone"
    given = [answers[replica] for replica in witnesses if replica in answers]
    if any(answer.failing and now - answer.at <= term for answer in given):
        return "confirmed"
    return "alone" if silent >= PATIENCE * term else "held"


def opinion(
    state: State, own: str, answers: Mapping[str, Answer], witnesses: Collection[str]
) -> SecondOpinion:
    """Return what to show: who reaches the service, who doesn't, who has not answered.

    ``own`` is the replica that checks the service.
    """
    given = {name: answers[name] for name in sorted(witnesses) if name in answers}
    failing = [f"{k} ({v.message})" for k, v in given.items() if v.failing]
    reaching = [name for name, answer in given.items() if not answer.failing]
    silent = sorted(set(witnesses) - set(given))
    message = f"unreachable from replica {own}"
    if failing:
        message += f", failing from {', '.join(failing)}"
    if reaching:
        message += f", reachable from {', '.join(reaching)}"
    if silent:
        message += f", no answer from {', '.join(silent)}"
    return SecondOpinion(state, message, given)
