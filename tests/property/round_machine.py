"""A hypothesis state machine of the round protocol: what every call must answer, whoever calls when, and however often.

The model is what clients were told: which tasks were reported with which bytes, and where each task stood when it was
last looked at. What rounds do by themselves (leases end, rounds close) is looked up after they have done it; what was
acknowledged is never looked up, but held against the rows. Before or after each change the server may die.
"""

import inspect
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

from hansa.crashpoints import observed
from hansa.protocol.errors import ErrorCode
from hansa.rounds import plan as plans
from hansa.rounds.decisions import Aggregate, Wait
from hansa.rounds.states import LIVE_ROUND_STATES, RoundState, TaskState, TrainingStatus
from simulation.contents import content_of
from simulation.coroutines import finish
from simulation.invariants import Watch
from simulation.machine import Machine, SimulatedCrash
from simulation.realm import Realm
from simulation.rows import Refused
from simulation.schedules import SMALL, draw
from simulation.timeline import Timeline

CLIENTS = 3
ROUNDS = 3
DIED = "died"
COLLECTED = LIVE_ROUND_STATES - {RoundState.COLLECTING} | {RoundState.DONE}
closings = st.sampled_from([{}, {"quorum": 2}, {"quorum": 1}, {"min_reports": 3}, {"deadline_seconds": 45.0}])
lates = st.sampled_from([{"kind": "discard"}, {"kind": "fold"}, {"kind": "fold", "max_staleness": 2}])
clients = st.integers(0, CLIENTS - 1)
instances = st.sampled_from("ab")
owners = st.sampled_from([None, None, None, None, 0, 1, 2])
"""Mostly a task's own client; sometimes another."""
values = st.integers(0, 1)
deaths = st.sampled_from([None, None, None, None, "written", "committed"])


@dataclass
class Known:
    """What the model knows of a task."""

    client: int
    instance: str
    uploaded: int | None = None
    reported: int | None = None
    """Which bytes were acknowledged."""


class RoundProtocol(RuleBasedStateMachine):
    """One training of three clients, with two processes each."""

    realm: ClassVar[Realm]
    tasks = Bundle("tasks")

    @initialize(closing=closings, late=lates)
    def begin(self, closing: dict[str, Any], late: dict[str, Any]) -> None:
        self.plan = plans.parse(
            {"rounds": ROUNDS, "seed": 7, "evaluation": {"every": 0}, "closing": closing, "late": late}
        )
        self.timeline, self.until, self.known = Timeline(0), ExitStack(), dict[str, Known]()
        schedule = replace(draw(0, SMALL), plans=(self.plan,), members=(tuple(range(CLIENTS)),))
        self.services = self.realm.serve(self.until, schedule, self.timeline, Machine())
        (self.training,) = self.services.trainings
        self.watch = Watch({self.training: self.plan})
        self.settle()

    def teardown(self) -> None:
        """Nothing stands in for the world any more."""
        self.until.close()

    close = teardown

    @property
    def now(self) -> datetime:
        """The time of day."""
        return self.timeline.now

    # What clients do.

    @rule(target=tasks, client=clients, instance=instances, dies=deaths)
    def ask(self, client: int, instance: str, dies: str | None) -> Any:  # Any: what hypothesis takes for a bundle
        expected = self._leasable(client, instance)
        given = self._call(lambda: self.services.ask(client, instance, self.now), dies)
        if given == DIED:
            return multiple()
        assert (given is not None) == expected, f"{given} for client {client}{instance}"
        if given is None:
            return multiple()
        self.known.setdefault(given.task, Known(client, instance)).instance = instance
        return given.task

    @rule(task=tasks, client=owners, dies=deaths)
    def renew(self, task: str, client: int | None, dies: str | None) -> None:
        who = self._who(task, client)
        expected = self._refusal(task, who)
        given = self._call(lambda: self.services.renew(who, task, self.now), dies)
        if given == DIED:
            return
        if expected is ErrorCode.NOT_FOUND:
            assert given == expected
        else:
            goes_on = expected is None and self._reported(task) is None
            assert (given == "") == goes_on, f"{given!r} for a task that is {self._row(task)}"

    @rule(task=tasks, client=owners, value=values, dies=deaths)
    def upload(self, task: str, client: int | None, value: int, dies: str | None) -> None:
        who = self._who(task, client)
        expected = self._refusal(task, who)
        if expected is None and self._reported(task) is not None:
            expected = ErrorCode.TASK_CLOSED if self._is_open(task) else ErrorCode.ROUND_CLOSED
        given = self._call(lambda: self.services.upload(who, task, value, self.now), dies)
        assert given in (expected, DIED)
        if expected is None and (given != DIED or dies == "committed"):
            self.known[task].uploaded = value

    @rule(task=tasks, client=owners, value=values, dies=deaths)
    def report(self, task: str, client: int | None, value: int, dies: str | None) -> None:
        who, before = self._who(task, client), self._reported(task)
        expected = self._refusal(task, who)
        if expected is None and before is not None:
            expected = None if before == value else ErrorCode.DIGEST_CONFLICT
        elif expected is None and self.known[task].uploaded != value:
            expected = ErrorCode.UPLOAD_INCOMPLETE
        given = self._call(lambda: self.services.report(who, task, value, 10, self.now), dies)
        if expected is not None:
            assert given in (expected, DIED), f"{given} where {expected} was wanted"
        elif given != DIED or dies == "committed":
            assert given in (self.services.digest_of(content_of(value)), DIED), given
            self.known[task].reported = value

    @rule(target=tasks, client=clients, value=values, dies=deaths)
    def work(self, client: int, value: int, dies: str | None) -> Any:  # Any: as of `ask`
        """A task from its beginning to its end."""
        task = self.ask(client, "a", None)
        if isinstance(task, str):
            self.rows_are_as_they_must_be()
            self.upload(task, None, value, None)
            self.report(task, None, value, dies)
        return task

    @rule(task=tasks, failed=st.booleans(), dies=deaths)
    def give_back(self, task: str, failed: bool, dies: str | None) -> None:
        owner = self.known[task].client
        given = self._call(lambda: self.services.give_back(owner, task, failed=failed, now=self.now), dies)
        assert given in (None, DIED)

    # What happens by itself.

    @rule(seconds=st.sampled_from([1, 20, 61]), dies=deaths)
    def time_passes(self, seconds: int, dies: str | None) -> None:
        self.timeline.seconds += seconds
        self._call(self.settle, dies)

    @rule(what=st.sampled_from(["pause", "resume", "resume"]), dies=deaths)
    def steer(self, what: str, dies: str | None) -> None:
        status = self._status()
        allowed = {"pause": {TrainingStatus.ONGOING}, "resume": {TrainingStatus.PAUSED, TrainingStatus.ERROR}}[what]
        given = self._call(lambda: self.services.steer(self.training, what, (), self.now), dies)
        assert given in (None if status in allowed else ErrorCode.WRONG_STATE, DIED)

    def settle(self) -> None:
        """As the orchestrator: until there is nothing to do now."""
        while not isinstance(decision := self.services.advance(self.training, self.now), Wait):
            self.rows_are_as_they_must_be()
            if isinstance(decision, Aggregate):
                finish(self.services.aggregate(self.training))
                self.rows_are_as_they_must_be()

    # What must hold.

    @invariant()
    def rows_are_as_they_must_be(self) -> None:
        self.watch.see(self.services.rows(), self.now)

    @invariant()
    def what_was_acknowledged_is_there(self) -> None:
        updates = self.services.rows().updates
        for task, known in self.known.items():
            if known.reported is not None:
                assert updates[task].digest == self.services.digest_of(content_of(known.reported))

    def _call(self, call: Callable[[], Any], dies: str | None) -> Any:  # Any: an answer, an error code, or DIED
        """Before the first commit of the call or after it the process dies, and is started again."""

        def pass_point(point: str) -> None:
            self.services.passed(point)
            if dies is not None and point.endswith(dies):
                raise SimulatedCrash(point)

        try:
            with observed(pass_point):
                given = call()
                return finish(given) if inspect.iscoroutine(given) else given
        except Refused as refused:
            return refused.code
        except SimulatedCrash:
            self.services.forget_memory()
            self.services.begin(self.now)
            self.services.passed("restarted")
            return DIED

    def _who(self, task: str, client: int | None) -> int:
        return self.known[task].client if client is None else client

    def _refusal(self, task: str, client: int) -> ErrorCode | None:
        """Why a task cannot be worked on, if not for what its client has done already."""
        if client != self.known[task].client:
            return ErrorCode.NOT_FOUND
        row = self._row(task)
        if self._reported(task) is not None or self._takes_late(task):
            return None
        if not self._is_open(task):
            return ErrorCode.ROUND_CLOSED
        if self._status() not in (TrainingStatus.ONGOING, TrainingStatus.PAUSED):
            return ErrorCode.TASK_CLOSED
        if row.state in (TaskState.FAILED, TaskState.CLOSED):
            return ErrorCode.TASK_CLOSED
        return ErrorCode.WRONG_STATE if row.state is TaskState.OFFERED else None

    def _takes_late(self, task: str) -> bool:
        """Whether a task of a closed round may still come, for the round that closes next."""
        row, late = self._row(task), self.plan.late
        asked = self.services.rows().rounds[row.round]
        if not isinstance(late, plans.Fold) or row.state is not TaskState.CLOSED or asked.state not in COLLECTED:
            return False
        if self._status() not in (TrainingStatus.ONGOING, TrainingStatus.PAUSED):
            return False
        closed = [of.number for of in self.services.rows().rounds.values() if of.state in COLLECTED]
        return max(closed) < ROUNDS and max(closed) + 1 - asked.number <= late.max_staleness

    def _leasable(self, client: int, instance: str) -> bool:
        rows = self.services.rows()
        for key, row in rows.tasks.items():
            if row.ordinal == client and rows.rounds[row.round].state is RoundState.COLLECTING:
                mine = row.state is TaskState.LEASED and self.services.holder_of(key) == instance
                free = row.state in (TaskState.OFFERED, TaskState.LOST)
                return self._status() is TrainingStatus.ONGOING and (mine or free)
        return False

    def _reported(self, task: str) -> int | None:
        return self.known[task].reported

    def _row(self, task: str) -> Any:  # Any: a TaskRow
        return self.services.rows().tasks[task]

    def _is_open(self, task: str) -> bool:
        return self.services.rows().rounds[self._row(task).round].state is RoundState.COLLECTING

    def _status(self) -> TrainingStatus:
        return self.services.rows().trainings[self.training].status
