from collections.abc import Mapping
from enum import StrEnum

import pytest

from hansa.rounds.states import (
    FINAL_TRAINING_STATUSES,
    LIVE_ROUND_STATES,
    ROUND_MOVES,
    TASK_MOVES,
    TRAINING_MOVES,
    RoundState,
    TaskState,
    TrainingStatus,
    sources,
)

MACHINES = [
    pytest.param(
        TRAINING_MOVES, TrainingStatus.INITIAL, {TrainingStatus.COMPLETED, TrainingStatus.CANCELLED}, id="training"
    ),
    pytest.param(ROUND_MOVES, RoundState.COLLECTING, {RoundState.DONE, RoundState.ABANDONED}, id="round"),
    pytest.param(TASK_MOVES, TaskState.OFFERED, {TaskState.REPORTED, TaskState.CLOSED}, id="task"),
]

Moves = Mapping[StrEnum, frozenset[StrEnum]]


def reachable(moves: Moves, start: StrEnum) -> set[StrEnum]:
    seen, new = set(), {start}
    while new:
        seen |= new
        new = {target for state in new for target in moves[state]} - seen
    return seen


@pytest.mark.parametrize(("moves", "first", "final"), MACHINES)
def test_every_state_has_a_row_and_can_be_reached(moves: Moves, first: StrEnum, final: set[StrEnum]) -> None:
    assert set(moves) == set(type(first))
    assert reachable(moves, first) == set(moves)


@pytest.mark.parametrize(("moves", "first", "final"), MACHINES)
def test_final_states_are_left_by_nothing_and_all_others_lead_to_one(
    moves: Moves, first: StrEnum, final: set[StrEnum]
) -> None:
    assert {state for state, targets in moves.items() if not targets} == final
    assert all(reachable(moves, state) & final for state in moves)


def test_final_trainings_and_live_rounds_are_those_of_the_tables() -> None:
    assert {status for status, targets in TRAINING_MOVES.items() if not targets} == FINAL_TRAINING_STATUSES
    assert {state for state, targets in ROUND_MOVES.items() if targets} == LIVE_ROUND_STATES


def test_a_training_may_be_cancelled_whatever_its_round_is_at() -> None:
    """Its round is then DONE if it has made its version, and ABANDONED if not."""
    ended = sources(ROUND_MOVES, RoundState.DONE) + sources(ROUND_MOVES, RoundState.ABANDONED)
    assert set(ended) >= LIVE_ROUND_STATES


def test_a_report_that_counted_is_never_taken_back() -> None:
    assert TASK_MOVES[TaskState.REPORTED] == frozenset()


def test_a_client_that_was_given_up_may_come_back_and_one_that_failed_may_not() -> None:
    assert {TaskState.LEASED, TaskState.REPORTED} <= TASK_MOVES[TaskState.LOST]
    assert TASK_MOVES[TaskState.FAILED] == {TaskState.CLOSED}


def test_sources_are_the_states_from_which_a_move_is_allowed() -> None:
    assert set(sources(TRAINING_MOVES, TrainingStatus.ONGOING)) == {
        TrainingStatus.INITIAL,
        TrainingStatus.PAUSED,
        TrainingStatus.ERROR,
    }
    assert sources(ROUND_MOVES, RoundState.COLLECTING) == []
