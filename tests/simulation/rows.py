"""What both worlds show: the rows that matter, as plain values, and what is answered where something is refused."""

from dataclasses import dataclass, field
from datetime import datetime

from hansa.protocol.tasks import TaskKind
from hansa.rounds.states import RoundState, TaskState, TrainingStatus

Entry = tuple[int, str, float]
"""Of an accepted list: ordinal, digest, weight."""
Late = tuple[int, str, float, int]
"""Of a folded list: ordinal, digest, weight, and the number of the round that it was trained in."""
Key = str
"""Of a row: short in the model, a UUID in a database."""


class Refused(Exception):  # noqa: N818  # an ordinary answer
    """The service says no; the code says why."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """A training."""

    status: TrainingStatus
    reason: str
    rounds_done: int
    awaits_clients: bool = False


@dataclass(frozen=True, slots=True)
class RoundRow:
    """One attempt at a round."""

    training: Key
    number: int
    attempt: int
    state: RoundState
    accepted: tuple[Entry, ...] | None = None
    folded: tuple[Late, ...] | None = None
    moments: tuple[Entry, ...] | None = None
    wanted: int | None = None
    base: str = ""
    """Digest of the version that it began from."""
    version: str | None = None
    """Digest of the version that it made."""
    averaged: str | None = None
    """Digest of that version's moments."""


@dataclass(frozen=True, slots=True)
class TaskRow:
    """What one client is asked."""

    round: Key
    ordinal: int
    kind: TaskKind
    state: TaskState
    """A late update is one of a CLOSED task."""
    lease_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class UpdateRow:
    """What was accepted of a task."""

    digest: str
    examples: int
    folded_into: Key | None = None


@dataclass(slots=True)
class Rows:
    """All rows at one moment, by their keys."""

    trainings: dict[Key, TrainingRow] = field(default_factory=dict)
    rounds: dict[Key, RoundRow] = field(default_factory=dict)
    tasks: dict[Key, TaskRow] = field(default_factory=dict)
    updates: dict[Key, UpdateRow] = field(default_factory=dict)
    """By their tasks."""
