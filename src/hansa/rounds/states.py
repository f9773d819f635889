"""The states of trainings, rounds and tasks, and the moves between them.

A service never sets a state: it moves a row *from* an allowed state, and looks at the count of rows moved
(`sources` names the allowed ones). What is not in these tables cannot happen.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

State = TypeVar("State", bound=StrEnum)


class TrainingStatus(StrEnum):
    """Where a training is. ERROR always comes with a reason that a person can act on."""

    INITIAL = "initial"
    ONGOING = "ongoing"
    PAUSED = "paused"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    ERROR = "error"


class RoundState(StrEnum):
    """Where one attempt at a round is."""

    COLLECTING = "collecting"
    AGGREGATING = "aggregating"
    AGGREGATED = "aggregated"
    SWAG = "swag"
    """The version is made; clients are asked for the moments of their weights around it."""
    COMBINING = "combining"
    """The moments that came are being averaged."""
    COMBINED = "combined"
    """The version has its moments, or it was found that it gets none."""
    EVALUATING = "evaluating"
    CALIBRATING = "calibrating"
    """The version is evaluated; clients are asked how badly its predictions agree with their examples."""
    DONE = "done"
    ABANDONED = "abandoned"


class TaskState(StrEnum):
    """Where one client's task is."""

    OFFERED = "offered"
    """Waits for its client to ask for work."""
    LEASED = "leased"
    """Its client works on it, and is known to be alive until the lease ends."""
    REPORTED = "reported"
    """The report is durable."""
    LOST = "lost"
    """The lease ended without a sign of life, or the offer was not taken; the client may come back to it."""
    FAILED = "failed"
    """The client's own code failed, and said so."""
    CLOSED = "closed"
    """Its round went on without it."""


TRAINING_MOVES: Mapping[TrainingStatus, frozenset[TrainingStatus]] = {
    TrainingStatus.INITIAL: frozenset({TrainingStatus.ONGOING, TrainingStatus.CANCELLED, TrainingStatus.ERROR}),
    TrainingStatus.ONGOING: frozenset(
        {
            TrainingStatus.PAUSED,
            TrainingStatus.COMPLETED,
            TrainingStatus.CANCELLED,
            TrainingStatus.ERROR,
        }
    ),
    TrainingStatus.PAUSED: frozenset({TrainingStatus.ONGOING, TrainingStatus.CANCELLED, TrainingStatus.ERROR}),
    # Resuming after an error is a person's decision, taken after mending what the reason names.
    TrainingStatus.ERROR: frozenset({TrainingStatus.ONGOING, TrainingStatus.CANCELLED}),
    TrainingStatus.COMPLETED: frozenset(),
    TrainingStatus.CANCELLED: frozenset(),
}

ROUND_MOVES: Mapping[RoundState, frozenset[RoundState]] = {
    # To DONE where local models are handed on (daisy chaining) and nothing is aggregated.
    RoundState.COLLECTING: frozenset({RoundState.AGGREGATING, RoundState.DONE, RoundState.ABANDONED}),
    RoundState.AGGREGATING: frozenset({RoundState.AGGREGATED, RoundState.ABANDONED}),
    RoundState.AGGREGATED: frozenset({RoundState.SWAG, RoundState.EVALUATING, RoundState.DONE}),
    # To COMBINED without moments where nobody could send any, or they could not be averaged; to DONE where the training
    # is cancelled: the version stands.
    RoundState.SWAG: frozenset({RoundState.COMBINING, RoundState.COMBINED, RoundState.DONE}),
    RoundState.COMBINING: frozenset({RoundState.COMBINED, RoundState.DONE}),
    RoundState.COMBINED: frozenset({RoundState.EVALUATING, RoundState.DONE}),
    RoundState.EVALUATING: frozenset({RoundState.CALIBRATING, RoundState.DONE}),
    RoundState.CALIBRATING: frozenset({RoundState.DONE}),
    RoundState.DONE: frozenset(),
    RoundState.ABANDONED: frozenset(),
}

TASK_MOVES: Mapping[TaskState, frozenset[TaskState]] = {
    # To FAILED where a client that is told of its task, and has not taken it, refuses to do such tasks.
    TaskState.OFFERED: frozenset({TaskState.LEASED, TaskState.LOST, TaskState.FAILED, TaskState.CLOSED}),
    TaskState.LEASED: frozenset(
        {TaskState.LEASED, TaskState.REPORTED, TaskState.LOST, TaskState.FAILED, TaskState.CLOSED}
    ),
    # A client that was given up may come back while the round is open: to report, or to lease its task again.
    TaskState.LOST: frozenset({TaskState.LEASED, TaskState.REPORTED, TaskState.FAILED, TaskState.CLOSED}),
    TaskState.FAILED: frozenset({TaskState.CLOSED}),
    TaskState.REPORTED: frozenset(),
    TaskState.CLOSED: frozenset(),
}

ROUND_REPAIRS: Mapping[RoundState, frozenset[RoundState]] = {
    RoundState.AGGREGATING: frozenset({RoundState.COLLECTING, RoundState.ABANDONED}),
    RoundState.COMBINING: frozenset({RoundState.SWAG, RoundState.ABANDONED}),
    **{
        state: frozenset({RoundState.ABANDONED})
        for state in RoundState
        if state not in (RoundState.AGGREGATING, RoundState.COMBINING, RoundState.ABANDONED)
    },
}
"""Moves that only lost bytes bring about: results that were to be computed with are asked for again, or, where the
version itself is lost, its round comes to nothing."""

TASK_REPAIRS: Mapping[TaskState, frozenset[TaskState]] = {
    TaskState.REPORTED: frozenset({TaskState.OFFERED}),
    TaskState.CLOSED: frozenset({TaskState.LOST, TaskState.REPORTED}),
}
"""Likewise: what was reported and is lost is on offer again, and whom the round went on without may come after all."""

LIVE_ROUND_STATES = frozenset(
    {
        RoundState.COLLECTING,
        RoundState.AGGREGATING,
        RoundState.AGGREGATED,
        RoundState.SWAG,
        RoundState.COMBINING,
        RoundState.COMBINED,
        RoundState.EVALUATING,
        RoundState.CALIBRATING,
    }
)
"""A training has at most one round in these."""

FINAL_TRAINING_STATUSES = frozenset({TrainingStatus.COMPLETED, TrainingStatus.CANCELLED})


def sources(moves: Mapping[State, frozenset[State]], target: State) -> list[State]:
    """The states from which `target` may be reached in one move.

    >>> [str(state) for state in sources(ROUND_MOVES, RoundState.AGGREGATED)]
    ['aggregating']
    """
    return [state for state, targets in moves.items() if target in targets]
