"""Checks that can't connect, and what other replicas say of them.

A replica that is cut off from a service can't tell this from the service's death. It
asks the others, by its record in the store, before it gives a verdict.
"""

import logging
from collections.abc import Callable, Iterator
from itertools import count

from modularity_registry.catalog.documents import ReplicaRecord, Suspect
from modularity_registry.clock import Clock
from modularity_registry.health.probes import Outcome
from modularity_registry.health.schedule import Schedule, Verdict
from modularity_registry.health.watched_service import WatchedCheck, WatchedService
from modularity_registry.model.second_opinion import (
    UNANSWERED,
    Answer,
    SecondOpinion,
    decide,
    opinion,
    term,
)
from modularity_registry.replicas.announcer import Announcer, fitting
from modularity_registry.replicas.membership import Membership
from modularity_registry.replicas.staleness import ViewHealth
from modularity_registry.replicas.standstill import Standstill

log = logging.getLogger(__name__)


class Suspicion:
    """A check that can't connect, from its verdict or the lack of it to its end.

    ``number`` is that of the last question, ``previous`` of the one before: its answers
    may still come. ``asked_at`` is when (monotonic) the last one was announced,
    ``silent_since`` since when questions have had no answer; None for not.
    """

    __slots__ = (
        "answers",
        "asked_at",
        "number",
        "opinion",
        "previous",
        "reason",
        "silent_since",
        "term",
        "watched",
    )

    def __init__(self, watched: WatchedService) -> None:
        assert watched.plan is not None, "only a check can fail to connect"
        self.watched = watched
        self.term = term(watched.plan.interval, watched.plan.timeout)
        self.number = 0
        self.previous = 0
        self.asked_at: float | None = None
        self.silent_since: float | None = None
        self.answers: dict[str, Answer] = {}
        self.reason = ""
        self.opinion: SecondOpinion | None = None


class Suspects:
    """The checks that can't connect from here. Belongs to the event loop."""

    def __init__(
        self,
        membership: Membership,
        announcer: Announcer,
        schedule: Schedule,
        clock: Clock,
        view_health: ViewHealth,
        standstill: Standstill,
        answered: Callable[[Suspicion], None],
        namespace: str = "",
    ) -> None:
        """Return suspects without any; ``answered`` is called at each answer.

        ``namespace`` is where they are, empty for the default one.
        """
        self._membership = membership
        self._announcer = announcer
        self._schedule = schedule
        self._clock = clock
        self._view_health = view_health
        self._standstill = standstill
        self._stalls = standstill.count
        self._answered = answered
        self._namespace = namespace
        self._numbers = count(1)
        self._suspicions: dict[WatchedService, Suspicion] = {}
        self._by_number: dict[int, Suspicion] = {}
        # The questions that are in the record or wait to be, in their order.
        self._open: dict[int, Suspicion] = {}

    @property
    def held(self) -> int:
        """How many verdicts are held back."""
        return sum(1 for _ in self._held())

    @property
    def reason(self) -> str | None:
        """A reason to be degraded: others reach what this replica can't, or None."""
        cut_off = sum(
            any(not answer.failing for answer in opinion.answers.values())
            for opinion in self._held()
        )
        if not cut_off:
            return None
        checks = "1 check fails" if cut_off == 1 else f"{cut_off:,} checks fail"
        return (
            f"{checks} to connect from this replica, but not from others: see the"
            " network between it and these services"
        )

    def find(self, watched: WatchedService) -> Suspicion | None:
        """Return the suspicion of a check, if there is one."""
        return self._suspicions.get(watched)

    def review(
        self,
        watched: WatchedService,
        outcome: Outcome,
        ok: bool | None,
        reason: str,
        verdict: Verdict | None,
    ) -> Verdict | None:
        """Return the verdict on a check that ended, by what other replicas found.

        ``ok`` and ``verdict`` are as with `Schedule.record_check`; ``reason`` is for
        people. None while nothing is decided: then the others are asked.
        """
        if ok is not False or not self._is_suspect(watched, outcome):
            self.forget(watched)
            return verdict
        suspicion = self._suspicions.setdefault(watched, Suspicion(watched))
        suspicion.reason = reason
        current = self._judge(suspicion)
        if current.state == "confirmed":
            return "add_fault"
        if current.state == "alone" and not suspicion.number:
            self.forget(watched)  # nobody can be asked: as without a second opinion
            return verdict
        if suspicion.number not in self._open:
            self._ask(suspicion)
        if current.state == "held":
            return None
        if verdict is not None:
            log.warning(
                "no other replica says whether it reaches service %s: decided alone",
                watched.id,
            )
        return verdict

    def forget(self, watched: WatchedService) -> None:
        """End the suspicion of a check, if there is one."""
        suspicion = self._suspicions.pop(watched, None)
        if suspicion is not None:
            self._open.pop(suspicion.number, None)
            for number in (suspicion.number, suspicion.previous):
                self._by_number.pop(number, None)

    def questions(self, room: int) -> tuple[Suspect, ...]:
        """Return what the record is to ask the others, in ``room`` bytes."""
        now = self._clock.monotonic()
        for suspicion in list(self._open.values()):
            if suspicion.asked_at is None:
                break
            if now - suspicion.asked_at >= suspicion.term:
                # It makes room for others; the next failure asks again.
                del self._open[suspicion.number]
        suspects = fitting(map(self._suspect, self._open.values()), room)
        for suspect in suspects:
            suspicion = self._open[suspect.number]
            if suspicion.asked_at is None:
                suspicion.asked_at = now
                if suspicion.silent_since is None:
                    suspicion.silent_since = now
        return suspects

    def hear(self, replica: str, record: ReplicaRecord) -> None:
        """Take another replica's answers from its record."""
        now, own = self._clock.monotonic(), self._membership.own
        for answer in record.opinions:
            suspicion = self._by_number.get(answer.number)
            if (answer.asker, answer.namespace) != (own, self._namespace):
                continue
            if suspicion is None:
                continue
            before = suspicion.answers.get(replica)
            if before is not None and before.number >= answer.number:
                continue
            suspicion.answers[replica] = Answer(
                answer.number, answer.failing, answer.message, now
            )
            suspicion.silent_since = None
            self._judge(suspicion)
            self._close_if_answered(suspicion)
            self._answered(suspicion)

    def _is_suspect(self, watched: WatchedService, outcome: Outcome) -> bool:
        if isinstance(watched, WatchedCheck) and not watched.critical:
            return False
        # Also while the registry doubts itself: then another one's word counts.
        enough = watched.failures >= self._schedule.fall_of(watched)
        return enough and not watched.has_fault and outcome.kind in UNANSWERED

    def _judge(self, suspicion: Suspicion) -> SecondOpinion:
        now, witnesses = self._clock.monotonic(), self._membership.witnesses()
        self._excuse(suspicion, now)
        since = suspicion.silent_since
        silent = 0.0 if since is None else now - since
        state = decide(suspicion.answers, witnesses, silent, suspicion.term, now)
        own = self._membership.own
        suspicion.opinion = opinion(state, own, suspicion.answers, witnesses)
        return suspicion.opinion

    def _excuse(self, suspicion: Suspicion, now: float) -> None:
        """Give the others a full term when their answers could not arrive."""
        late = [suspicion] if self._view_health.stale_reason is not None else []
        if self._stalls != self._standstill.count:
            self._stalls = self._standstill.count
            late = list(self._suspicions.values())
        for each in late:
            if each.silent_since is not None:
                each.silent_since = now

    def _ask(self, suspicion: Suspicion) -> None:
        self._by_number.pop(suspicion.previous, None)
        suspicion.previous = suspicion.number
        suspicion.number = next(self._numbers)
        suspicion.asked_at = None
        self._open[suspicion.number] = suspicion
        self._by_number[suspicion.number] = suspicion
        self._announcer.nudge()

    def _close_if_answered(self, suspicion: Suspicion) -> None:
        """Take a question from the record when everybody has answered it."""
        numbers = {name: each.number for name, each in suspicion.answers.items()}
        everybody = self._membership.witnesses()
        if all(numbers.get(name) == suspicion.number for name in everybody):
            self._open.pop(suspicion.number, None)
            if self._open and next(reversed(self._open.values())).asked_at is None:
                self._announcer.nudge()  # there is room for the next

    def _suspect(self, suspicion: Suspicion) -> Suspect:
        watched = suspicion.watched
        return Suspect(watched.id, suspicion.number, watched.name, self._namespace)

    def _held(self) -> Iterator[SecondOpinion]:
        for suspicion in self._suspicions.values():
            if suspicion.opinion is not None and suspicion.opinion.state == "held":
                yield suspicion.opinion
