"""Makes the checks that other replicas ask for, and keeps what they found."""

from collections.abc import Callable, Hashable, Iterator
from typing import Final

from modularity_registry.catalog.catalog import Catalog
from modularity_registry.catalog.documents import Opinion, ReplicaRecord, Suspect
from modularity_registry.clock import Clock
from modularity_registry.health.probes import Outcome
from modularity_registry.health.schedule import Schedule
from modularity_registry.health.watched_service import WatchedService
from modularity_registry.model.service import CheckPlan, Service
from modularity_registry.replicas.announcer import Announcer, fitting
from modularity_registry.replicas.membership import Membership

MESSAGE: Final = 100
"""Characters of a check's message that an answer carries."""

NO_OPINION: Final = frozenset({"local", "policy"})
"""The outcomes of checks that say something of this replica alone."""


class Question(WatchedService):
    """A check that another replica asks this one to make, once."""

    __slots__ = ("asker", "name", "number", "opinion")

    def __init__(
        self, service: Service, plan: CheckPlan, asker: str, suspect: Suspect
    ) -> None:
        super().__init__(service, plan, passed=False)
        self.asker = asker
        self.name = suspect.check
        self.number = suspect.number
        self.opinion: Opinion | None = None

    @property
    def key(self) -> Hashable:
        return self.asker, self.number


class Witness:
    """The questions of other replicas. Belongs to the event loop."""

    def __init__(
        self,
        membership: Membership,
        announcer: Announcer,
        catalog: Catalog,
        schedule: Schedule,
        clock: Clock,
        poke: Callable[[], None],
        namespace: str = "",
    ) -> None:
        """Return a witness who is asked nothing yet; ``poke`` has checks made.

        ``namespace`` is where the services are, empty for the default one.
        """
        self._membership = membership
        self._announcer = announcer
        self._catalog = catalog
        self._schedule = schedule
        self._clock = clock
        self._poke = poke
        self._namespace = namespace
        self._questions: dict[str, dict[int, Question]] = {}

    def hear(self, asker: str, record: ReplicaRecord) -> None:
        """Take another replica's questions from its record; drop those it settled."""
        suspects = {
            suspect.number: suspect
            for suspect in record.suspects
            if suspect.namespace == self._namespace
        }
        if asker not in self._membership.witnesses():
            suspects = {}  # on this one's host it sees the same
        questions = self._questions.pop(asker, {})
        for number in questions.keys() - suspects.keys():
            self._drop(questions.pop(number))
        for number in suspects.keys() - questions.keys():
            question = self._question(asker, suspects[number])
            if question is not None:
                questions[number] = question
                self._schedule.checks.push(self._clock.monotonic(), question)
        if questions:
            self._questions[asker] = questions
            self._poke()

    def record(self, question: Question, outcome: Outcome, in_trouble: bool) -> None:
        """Take what a check found; ``in_trouble`` says that it means nothing.

        A replica that doubts itself calls nobody unreachable.
        """
        question.gone = True
        if in_trouble or outcome.kind in NO_OPINION:
            return
        if outcome.ok or not self._schedule.suspicion.active:
            question.opinion = Opinion(
                question.asker,
                question.number,
                not outcome.ok,
                outcome.message[:MESSAGE],
                self._namespace,
            )
            self._announcer.nudge()

    def answers(self, room: int) -> tuple[Opinion, ...]:
        """Return what the record is to answer the others, in ``room`` bytes."""
        return fitting(self._opinions(), room)

    def _question(self, asker: str, suspect: Suspect) -> Question | None:
        entry = self._catalog.service(suspect.id)
        service = entry.service if entry is not None else None
        plan = self._schedule.plan_of(service, suspect.check) if service else None
        if service is None or plan is None:
            return None
        return Question(service, plan, asker, suspect)

    def _drop(self, question: Question) -> None:
        if not question.gone:
            question.gone = True
            self._schedule.checks.forget(question)

    def _opinions(self) -> Iterator[Opinion]:
        alive = self._membership.alive
        for asker, questions in self._questions.items():
            if asker in alive:
                for question in questions.values():
                    if question.opinion is not None:
                        yield question.opinion
