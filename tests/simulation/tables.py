"""The rows of the model in memory, and what every change of them is made of."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from hansa.protocol.tasks import TaskKind
from hansa.rounds import plan as plans
from hansa.rounds.states import LIVE_ROUND_STATES, RoundState, TaskState, TrainingStatus
from simulation.coroutines import Activity, Course, left_undone
from simulation.machine import Machine
from simulation.rows import Entry, Key, RoundRow, Rows, TaskRow, TrainingRow
from simulation.timeline import Timeline

OPEN = frozenset({TaskState.OFFERED, TaskState.LEASED, TaskState.LOST})


@dataclass(slots=True)
class Member:
    """A participation."""

    client: int
    active: bool = True
    absent: bool = False
    failures: int = 0
    """In a row, of tasks that it had taken."""
    excluded: bool = False
    num_examples: int | None = None

    @property
    def selectable(self) -> bool:
        """Whether it may be selected for a round."""
        return self.active and not self.excluded


@dataclass(slots=True)
class Learning:
    """What a training has beside its row."""

    plan: plans.Plan
    seed: int
    members: list[Member]
    """By ordinal."""
    failures: int = 0


@dataclass(slots=True)
class Phase:
    """What a round has beside its row."""

    opened_at: datetime
    began_at: datetime
    """When its present phase did."""
    clock_from: datetime | None = None
    claim: int | None = None
    claimed_until: datetime | None = None
    reason: str = ""
    selection: dict[str, Any] | None = None


@dataclass(slots=True)
class Work:
    """What a task has beside its row."""

    client: int
    opened_at: datetime
    instance: str = ""
    leased_at: datetime | None = None
    reported_at: datetime | None = None
    uploaded: str | None = None


@dataclass
class Tables:
    """Rows, and what they have beside what is looked at."""

    learnings: Mapping[Key, Learning]
    timeline: Timeline
    machine: Machine
    moved: Callable[[Key], None] = lambda training: None
    offered: Callable[[int], None] = lambda client: None
    begun: Callable[[str, Course], Activity] = left_undone
    phases: dict[Key, Phase] = field(default_factory=dict)
    works: dict[Key, Work] = field(default_factory=dict)
    seen: dict[int, datetime] = field(default_factory=dict)
    """Which clients have asked for work, and when last: lost with the process."""
    store: Rows = field(default_factory=Rows)
    claims: int = 0
    troubles: dict[Key, int] = field(default_factory=dict)
    hints: list[Callable[[], None]] = field(default_factory=list)
    _shown: Rows | None = None

    def __post_init__(self) -> None:
        for key in self.learnings:
            self.store.trainings[key] = TrainingRow(TrainingStatus.ONGOING, "", 0)

    def rows(self) -> Rows:
        """As they are now; the same object as long as nothing has changed."""
        if self._shown is None:
            now = self.store
            self._shown = Rows(dict(now.trainings), dict(now.rounds), dict(now.tasks), dict(now.updates))
        return self._shown

    @contextmanager
    def change(self, name: str) -> Iterator[None]:
        """All or nothing: who dies before the end has changed nothing, so here it dies before the beginning."""
        self.machine.passed(f"{name}.written")
        self.hints.clear()
        self._shown = None
        yield
        hints, self.hints = self.hints, []
        for hint in hints:
            hint()
        self.machine.passed(f"{name}.committed")

    def restart_clocks(self, rounds: Sequence[Key], now: datetime) -> None:
        for key in rounds:
            if self.store.rounds[key].state in LIVE_ROUND_STATES:
                self.phases[key].clock_from = now

    def live(self, training: Key) -> Key | None:
        for key, row in reversed(self.store.rounds.items()):
            if row.training == training and row.state in LIVE_ROUND_STATES:
                return key
        return None

    def finish(self, key: Key, state: RoundState) -> None:
        self.close_tasks(key)
        self.set_round(key, state=state)
        self.phases[key].claim = self.phases[key].claimed_until = None

    def close_tasks(self, of: Key) -> None:
        for key, task in [*self.store.tasks.items()]:
            if task.round == of and task.state in OPEN:
                if task.state is TaskState.LOST and self.works[key].leased_at is not None:
                    self.note_failed(key)
                self.set_task(key, state=TaskState.CLOSED, lease_until=None)

    def accepted(self, of: Key, kind: TaskKind) -> tuple[Entry, ...]:
        by_examples = self.learnings[self.store.rounds[of].training].plan.aggregator.weighting == "examples"
        tasks = [
            (task.ordinal, key)
            for key, task in self.store.tasks.items()
            if task.round == of and task.kind is kind and task.state is TaskState.REPORTED
        ]
        updates = [(ordinal, self.store.updates[key]) for ordinal, key in sorted(tasks) if key in self.store.updates]
        return tuple((ordinal, each.digest, each.examples if by_examples else 1) for ordinal, each in updates)

    def set_training(self, key: Key, **fields: Any) -> None:  # Any: of the row
        self.store.trainings[key] = replace(self.store.trainings[key], **fields)

    def set_round(self, key: Key, **fields: Any) -> None:  # Any: of the row
        self.store.rounds[key] = replace(self.store.rounds[key], **fields)

    def set_task(self, key: Key, **fields: Any) -> None:  # Any: of the row
        self.store.tasks[key] = replace(self.store.tasks[key], **fields)

    def add_round(self, row: RoundRow, now: datetime) -> Key:
        key = f"{row.training}/{row.number}.{row.attempt}"
        self.store.rounds[key] = row
        self.phases[key] = Phase(opened_at=now, began_at=now)
        return key

    def add_task(self, of: Key, ordinal: int, kind: TaskKind, state: TaskState) -> None:
        key = f"{of}/{kind}/{ordinal}"
        client = self.learnings[self.store.rounds[of].training].members[ordinal].client
        self.store.tasks[key] = TaskRow(of, ordinal, kind, state)
        self.works[key] = Work(client, self.phases[of].opened_at)
        self.hints.append(lambda: self.offered(client))

    def base_of(self, training: Key) -> str:
        versions = [of.version for of in self.store.rounds.values() if of.training == training and of.version]
        return versions[-1] if versions else "0"

    def member(self, task: Key) -> Member:
        row = self.store.tasks[task]
        return self.learnings[self.store.rounds[row.round].training].members[row.ordinal]

    def lose(self, task: Key) -> None:
        """Its client is gone until it asks again."""
        gone = self.member(task)
        gone.absent = True
        self.seen.pop(gone.client, None)

    def tell_of(self, task: Key) -> None:
        training = self.store.rounds[self.store.tasks[task].round].training
        self.hints.append(lambda: self.moved(training))

    def note_failed(self, task: Key) -> None:
        """A client's own failure, if it was asked to train; who fails too often is excluded."""
        row, member = self.store.tasks[task], self.member(task)
        if row.kind is TaskKind.TRAIN:
            allowed = self.learnings[self.store.rounds[row.round].training].plan.participation.exclude_after
            member.failures += 1
            member.excluded |= allowed is not None and member.failures >= allowed

    def abandon(self, key: Key, reason: str, *, failure: bool) -> None:
        self.phases[key].reason = reason
        self.learnings[self.store.rounds[key].training].failures += failure
        self.finish(key, RoundState.ABANDONED)
        self.unfold(key)

    def unfold(self, key: Key) -> None:
        """What counted in a round that came to nothing waits for the next."""
        for task, update in self.store.updates.items():
            if update.folded_into == key:
                self.store.updates[task] = replace(update, folded_into=None)
