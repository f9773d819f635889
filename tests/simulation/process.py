"""The server as clients see it: a process that is up or down, and in it the orchestrator's way of driving rounds.

What a request, a decision or an aggregation does is the `Service`'s business, the same for both worlds. A crash drops
all that is in memory; after a while the process starts again and begins as the real one does.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Protocol

from hansa.protocol.tasks import TaskKind
from hansa.rounds.decide import CLAIM_SECONDS
from hansa.rounds.decisions import Aggregate, Combine, Decision, Wait
from simulation.invariants import Watch
from simulation.rows import Key, Rows
from simulation.timeline import Timeline

MAX_TROUBLES = 5
TROUBLE_SECONDS = 5.0


class SimulatedCrash(BaseException):  # as KeyboardInterrupt: no error, and nobody may catch it
    """The process dies at this point."""


class Refused(Exception):  # noqa: N818  # an ordinary answer
    """The service says no; the code says why."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a client is told of its task."""

    task: Key
    kind: TaskKind
    training: Key
    number: int
    ordinal: int
    seed: int
    base: str


Job = Any  # what is computed, as the world has it
Answer = Callable[[Any], None]  # Any: what the call gave, or the Refused that it raised


class Service(Protocol):
    """What both worlds can do. Each call is one change, or none; `SimulatedCrash` may come out of any of them."""

    trainings: Sequence[Key]
    moved: Callable[[Key], None]
    """Told of a training that something happened in."""
    offered: Callable[[int], None]
    """Told of a client that has work."""

    def ask(self, client: int, instance: str, now: datetime) -> Assignment | None: ...
    def renew(self, client: int, task: Key, now: datetime) -> str: ...
    def upload(self, client: int, task: Key, value: int, now: datetime) -> None: ...
    def report(self, client: int, task: Key, value: int | None, examples: int, now: datetime) -> str: ...
    def give_back(self, client: int, task: Key, *, failed: bool, now: datetime) -> None: ...
    def steer(self, training: Key, what: str, clients: Sequence[int], now: datetime) -> None: ...
    def begin(self, now: datetime) -> None: ...
    def advance(self, training: Key, now: datetime) -> Decision: ...
    def claim(self, training: Key, now: datetime) -> Job | None: ...
    def renew_claim(self, job: Job, now: datetime) -> None: ...
    def commit(self, job: Job, now: datetime) -> None: ...
    def drop_claim(self, job: Job) -> None: ...
    def give_up(self, job: Job, reason: str, now: datetime) -> None: ...
    def keep_house(self, now: datetime) -> None: ...
    def forget_memory(self) -> None: ...
    def participants(self, training: Key) -> set[int]: ...
    def rows(self) -> Rows: ...
    def check_end(self, now: datetime) -> None: ...


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong in the server itself."""

    downtime: float
    """Seconds at most between a crash and the next start."""
    lost_hints: float
    """Of a hundred hints, so many hundredths are lost until a sweep."""
    trouble: float
    """Of a hundred aggregations, so many hundredths fail for reasons of the machine."""
    sweep: float
    """Seconds between two sweeps."""
    slowest_mean: float
    """Seconds that an aggregation takes at most."""


class Process:
    """One server process after another, on the same rows."""

    def __init__(self, timeline: Timeline, service: Service, faults: Faults, watch: Watch) -> None:
        self.service, self.timeline, self.faults, self.watch = service, timeline, faults, watch
        self.up = False
        self.waits: dict[Key, Wait] = {}
        """What each training waits for, as it was last found."""
        self._life = 0
        self._computing: set[Key] = set()
        self._unlooked: set[Key] = set()
        self._planned: dict[Key, float] = {}
        self._troubles: dict[Key, int] = {}
        service.moved = self._hear_of
        self.start()

    def start(self) -> None:
        """As `Orchestrator.run` begins: leases begin anew, claims are dropped, all trainings are looked at."""
        self.up, self._life = True, self._life + 1
        self.timeline.note("server starts")
        if self.attempt("begin", partial(self.service.begin, self.timeline.now)):
            self._sweep(self._life)
            self._keep_house(self._life)

    def crash(self, where: str) -> None:
        """Memory is lost; the next start comes by itself."""
        self.timeline.note(f"server dies at {where}")
        self.up = False
        self._computing.clear()
        self._planned.clear()
        self.waits.clear()
        self._troubles.clear()
        self.service.forget_memory()
        self.watch.see(self.service.rows(), self.timeline.now)
        self.timeline.after(self.timeline.between(0.1, self.faults.downtime), self.start)

    def handle(self, what: str, call: Callable[[], Any], answer: Answer) -> None:  # Any: whatever the call gives
        """A request has come. A process that is down, or dies of it, answers nothing."""
        if self.up:
            self.attempt(what, call, answer)

    def attempt(self, what: str, call: Callable[[], Any], answer: Answer | None = None) -> bool:  # Any: as above
        """Do one thing, and look whether all still holds; False if the process died of it."""
        try:
            given = call()
        except Refused as refused:
            given = refused
        except SimulatedCrash as crash:
            self.crash(f"{crash} ({what})")
            return False
        if what:
            self.timeline.note(f"{what} -> {_shown(given)}")
        self.watch.see(self.service.rows(), self.timeline.now)
        if answer is not None:
            answer(given)
        return True

    def _hear_of(self, training: Key) -> None:
        """A hint; where it is lost, the next sweep looks."""
        if self.up and self.timeline.chance(self.faults.lost_hints):
            self._unlooked.add(training)
        elif self.up:
            self._look_in(training, self.timeline.between(0.001, 0.5))

    def _look_in(self, training: Key, seconds: float) -> None:
        due = self.timeline.seconds + seconds
        if self._planned.get(training, due + 1) > due:
            self._planned[training] = due
            self.timeline.after(seconds, partial(self._look, training, self._life, due))

    def _look(self, training: Key, life: int, due: float) -> None:
        if life == self._life and self.up and self._planned.get(training) == due:
            del self._planned[training]
            self._advance(training)

    def _sweep(self, life: int) -> None:
        if life == self._life and self.up:
            for training in self.service.trainings:
                # A sweep looks at all; what it would find unchanged, and waiting for a moment, is left out here.
                wait = self.waits.get(training)
                if wait is None or wait.until is None or training in self._unlooked:
                    self._look_in(training, 0.0)
            self._unlooked.clear()
            self.timeline.after(self.faults.sweep, partial(self._sweep, life))

    def _keep_house(self, life: int) -> None:
        if life == self._life and self.up and self.attempt("", partial(self.service.keep_house, self.timeline.now)):
            self.timeline.after(10 * self.faults.sweep, partial(self._keep_house, life))

    def _advance(self, training: Key) -> None:
        self.attempt("", partial(self.service.advance, training, self.timeline.now), partial(self._decided, training))

    def _decided(self, training: Key, decision: Decision) -> None:
        self.watch.heed(training, decision)
        if isinstance(decision, Wait):
            self.waits[training] = decision
            if decision.until is not None:
                self._look_in(training, max(0.0, (decision.until - self.timeline.now).total_seconds()))
            return
        self.timeline.note(f"{training[:10]}: {type(decision).__name__}: {decision.reason}")
        if isinstance(decision, Aggregate | Combine):
            self._compute(training)
        else:
            self._look_in(training, 0.001)

    def _compute(self, training: Key) -> None:
        if training in self._computing:
            return
        self._computing.add(training)
        claim = partial(self.service.claim, training, self.timeline.now)
        self.attempt("claim", claim, partial(self._claimed, training, self._life))

    def _claimed(self, training: Key, life: int, job: Job | None) -> None:
        if job is None:
            self._computed(training, life, None)
            return
        seconds = self.timeline.between(0.01, self.faults.slowest_mean)
        for renewal in range(1, int(seconds // (CLAIM_SECONDS / 3)) + 1):
            self.timeline.after(renewal * CLAIM_SECONDS / 3, partial(self._renew_claim, life, job))
        self.timeline.after(seconds, partial(self._end, training, life, job))

    def _renew_claim(self, life: int, job: Job) -> None:
        if life == self._life and self.up:
            self.attempt("renew claim", partial(self.service.renew_claim, job, self.timeline.now))

    def _end(self, training: Key, life: int, job: Job) -> None:
        if life != self._life or not self.up:
            return
        if self.timeline.chance(self.faults.trouble):
            self._trouble(training, life, job)
        elif self.attempt("commit", partial(self.service.commit, job, self.timeline.now)):
            self._troubles.pop(training, None)
            self._computed(training, life, job)

    def _trouble(self, training: Key, life: int, job: Job) -> None:
        self.timeline.note("the aggregation fails")
        self._troubles[training] = self._troubles.get(training, 0) + 1
        if self._troubles[training] < MAX_TROUBLES:
            self.timeline.after(TROUBLE_SECONDS, partial(self._computed, training, life, job))
        elif self.attempt("give up", partial(self.service.give_up, job, "It failed.", self.timeline.now)):
            del self._troubles[training]
            self._computed(training, life, job)

    def _computed(self, training: Key, life: int, job: Job | None) -> None:
        """As the real one's `finally`: the claim is let go, and the training looked at."""
        if life != self._life or not self.up:
            return
        self._computing.discard(training)
        if job is None or self.attempt("drop claim", partial(self.service.drop_claim, job)):
            self._hear_of(training)


def _shown(given: object) -> str:
    return given.code if isinstance(given, Refused) else "" if given is None else str(given)
