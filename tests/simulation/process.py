"""The server as clients see it: a process that is up or down, and in it the orchestrator's way of driving rounds.

What a request, a decision or an aggregation does is the `Service`'s business, the same for both worlds: a call that is
over at once, or a coroutine, between whose steps other things happen. A crash drops all that is in memory; after a
while the process starts again and begins as the real one does.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Protocol

from hansa.protocol.tasks import TaskKind
from hansa.rounds.decisions import Aggregate, Combine, Decision, Wait
from simulation.coroutines import Activity, Course
from simulation.invariants import Watch
from simulation.machine import Machine, SimulatedCrash
from simulation.network import Network
from simulation.rows import Key, Refused, Rows
from simulation.timeline import Timeline


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


Answer = Callable[[Any], None]  # Any: what the call gave, or the Refused that it raised


class Receiver(Protocol):
    """A program with an endpoint."""

    on: bool

    def hear(self, message: dict[str, Any]) -> bool:  # Any: JSON
        """It is told of something; False if it wants nothing of it."""


@dataclass(frozen=True, slots=True)
class Chore:
    """Something that the process does from time to time."""

    name: str
    seconds: float
    do: Callable[[], Course]


class Service(Protocol):
    """What both worlds can do. Each call is one change, or none; `SimulatedCrash` may come out of any of them."""

    trainings: Sequence[Key]
    moved: Callable[[Key], None]
    """Told of a training that something happened in."""
    offered: Callable[[int], None]
    """Told of a client that has work."""
    begun: Callable[[str, Course], Activity]
    """Told of what the process is to do beside all else."""

    def ask(self, client: int, instance: str, now: datetime) -> Assignment | Course | None: ...
    def renew(self, client: int, task: Key, now: datetime) -> str | Course: ...
    def upload(self, client: int, task: Key, value: int, now: datetime) -> Course | None: ...
    def report(self, client: int, task: Key, value: int | None, examples: int, now: datetime) -> str | Course: ...
    def give_back(self, client: int, task: Key, *, failed: bool, now: datetime) -> Course | None: ...
    def steer(self, training: Key, what: str, clients: Sequence[int], now: datetime) -> None: ...
    def begin(self, now: datetime) -> None: ...
    def advance(self, training: Key, now: datetime) -> Decision: ...
    def aggregate(self, training: Key) -> Course: ...
    def chores(self) -> Sequence[Chore]: ...
    def forget_memory(self) -> None: ...
    def participants(self, training: Key) -> set[int]: ...
    def rows(self) -> Rows: ...
    def harm(self) -> str: ...
    def put_back(self) -> None: ...
    def connect(self, network: Network, told: Mapping[int, Receiver]) -> None: ...
    async def send_result(self, client: int, kind: TaskKind, body: dict[str, Any], value: int) -> tuple[Key, str]: ...
    def check_end(self, now: datetime) -> None: ...


class Process:
    """One server process after another, on the same rows."""

    def __init__(self, timeline: Timeline, service: Service, machine: Machine, watch: Watch) -> None:
        self.service, self.timeline, self.machine, self.watch = service, timeline, machine, watch
        self.up = False
        self.waits: dict[Key, Wait] = {}
        """What each training waits for, as it was last found."""
        self._life = 0
        self._activities: list[Activity] = []
        self._computing: set[Key] = set()
        self._unlooked: set[Key] = set()
        self._planned: dict[Key, float] = {}
        service.moved, service.begun = self._hear_of, self.follow
        self.start()

    def start(self) -> None:
        """As `Orchestrator.run` begins: leases begin anew, claims are dropped, all trainings are looked at."""
        self.up, self._life = True, self._life + 1
        self.timeline.note("server starts")
        if self.attempt("begin", partial(self.service.begin, self.timeline.now)):
            self._sweep(self._life)
            for chore in self.service.chores():
                self._do(chore, self._life)

    def crash(self, where: str) -> None:
        """Memory is lost; the next start comes by itself."""
        self.timeline.note(f"server dies at {where}")
        self.up, self.machine.died = False, ""
        self._computing.clear()
        self._planned.clear()
        self.waits.clear()
        self.service.forget_memory()
        self.watch.see(self.service.rows(), self.timeline.now)
        self.timeline.after(self.timeline.between(0.1, self.machine.faults.downtime), self.start)

    def handle(self, what: str, call: Callable[[], Any], answer: Answer) -> None:  # Any: whatever the call gives
        """A request has come. A process that is down, or dies of it, answers nothing."""
        if self.up:
            self.attempt(what, call, answer)

    def attempt(self, what: str, call: Callable[[], Any], answer: Answer | None = None) -> bool:  # Any: as above
        """Do one thing, and look whether all still holds; False if the process died of it.

        Where it is a coroutine it is only begun by this, and answered when it ends.
        """
        given = self._died_of(what, call)
        if given is self:
            return False
        if inspect.iscoroutine(given):
            activity = self.follow(what, given)
            if answer is not None:
                activity.add_done_callback(lambda ended: answer(ended.given))
            return True
        if what:
            self.timeline.note(f"{what} -> {_shown(given)}")
        self.watch.see(self.service.rows(), self.timeline.now)
        if answer is not None:
            answer(given)
        return True

    def follow(self, what: str, course: Course) -> Activity:
        """Let a coroutine go its course, as long as the process lives. Dropped, it must not notice: it is kept."""
        activity = Activity(what, course, self._life)
        self._activities.append(activity)
        self.timeline.after(0.0, partial(self._step, activity))
        return activity

    def _step(self, activity: Activity) -> None:
        if activity.life != self._life or not self.up or activity.over:
            return
        given = self._died_of(activity.what, activity.step)
        if given is self:
            return
        self.watch.see(self.service.rows(), self.timeline.now)
        if not activity.over:
            self.timeline.after(given, partial(self._step, activity))
            return
        if activity.what:
            self.timeline.note(f"{activity.what} -> {_shown(activity.given)}")
        activity.end()

    def _died_of(self, what: str, call: Callable[[], Any]) -> Any:  # Any: what the call gives, or `self`
        """The answer; the process itself if this was its last."""
        given: Any  # as above
        try:
            given = call()
        except Refused as refused:
            given = refused
        except SimulatedCrash as crash:
            given, self.machine.died = None, self.machine.died or str(crash)
        if self.machine.died:
            self.crash(f"{self.machine.died} ({what})")
            return self
        return given

    def end(self) -> None:
        """The schedule is over: what was not ended by then, or dropped by a crash, is closed in peace."""
        for activity in self._activities:
            with suppress(RuntimeError):  # one that waits for something while it is closed
                activity.course.close()

    def _hear_of(self, training: Key) -> None:
        """A hint; where it is lost, the next sweep looks."""
        if self.up and self.timeline.chance(self.machine.faults.lost_hints):
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

    def look_at_all(self) -> None:
        """As a sweep of the real one does, however long they were to wait."""
        if self.up:
            self.waits.clear()
            for training in self.service.trainings:
                self._look_in(training, 0.0)

    def _sweep(self, life: int) -> None:
        if life == self._life and self.up:
            for training in self.service.trainings:
                # A sweep looks at all; what it would find unchanged, and waiting for a moment, is left out here.
                wait = self.waits.get(training)
                if wait is None or wait.until is None or training in self._unlooked:
                    self._look_in(training, 0.0)
            self._unlooked.clear()
            self.timeline.after(self.machine.faults.sweep, partial(self._sweep, life))

    def _do(self, chore: Chore, life: int) -> None:
        if life == self._life and self.up:
            activity = self.follow(chore.name, chore.do())
            activity.add_done_callback(lambda _: self.timeline.after(chore.seconds, partial(self._do, chore, life)))

    def _advance(self, training: Key) -> None:
        self.attempt("", partial(self.service.advance, training, self.timeline.now), partial(self._decided, training))

    def _decided(self, training: Key, decision: Decision) -> None:
        self.watch.heed(training, decision)
        if isinstance(decision, Wait):
            self.waits[training] = decision
            if decision.until is not None:
                self._look_in(training, max(0.001, (decision.until - self.timeline.now).total_seconds()))
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
        activity = self.follow(f"{training[:10]}: aggregation", self.service.aggregate(training))
        activity.add_done_callback(lambda _: self._computed(training))

    def _computed(self, training: Key) -> None:
        self._computing.discard(training)
        self._hear_of(training)


def _shown(given: object) -> str:
    return given.code if isinstance(given, Refused) else "" if given is None else str(given)
