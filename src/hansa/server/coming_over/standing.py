"""Where a training stands when it comes here: its plan, its status, and how its rounds go on.

That platform counts rounds in the model's row: `round` aggregations (with daisy chaining: small rounds) are behind it,
and it ends when they reach `target_num_updates`. Here the rounds that were held there are one row, DONE, without tasks:
who did what in them is not known. Its number is that of the last of them, so that metrics keep their steps and round
numbers go on where they stood.

    I        stays initial
    O, S     paused: a person sees to the clients first, then resumes it. The next round begins from the weights as they
             are; what was uploaded in the unfinished one is not taken
    C        stays completed
    E        stays in error, and can be resumed
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from hansa.rounds import plan as plans
from hansa.rounds import shorthands
from hansa.rounds.states import TrainingStatus
from hansa.server.coming_over.rows import Training

STATES = {
    "I": TrainingStatus.INITIAL,
    "O": TrainingStatus.PAUSED,
    "S": TrainingStatus.PAUSED,
    "C": TrainingStatus.COMPLETED,
    "E": TrainingStatus.ERROR,
}


class UnusableTrainingError(ValueError):
    """It cannot be expressed here; the message says what of it."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A training's place, in Hansa's words."""

    plan: plans.Plan
    shorthand: dict[str, Any]  # Any: a JSON object
    status: TrainingStatus
    reason: str
    rounds_done: int
    first_round: int
    """So that the model's round is what it was: the rounds it had behind it before this training."""
    remarks: tuple[str, ...] = ()


def standing(row: Training, model_round: int) -> Standing:
    """Where the training stands. Raises UnusableTrainingError."""
    if row.state not in STATES:
        raise UnusableTrainingError(f"its state is {row.state!r}, which is none of {', '.join(STATES)}")
    words = _words(row)
    rounds = max(1, row.target_num_updates)  # that platform holds one round also where none is asked for
    plan = _plan(words, rounds)
    status, held = STATES[row.state], max(0, model_round)
    in_vain = status is not TrainingStatus.INITIAL and plan.daisy_chain is not None and held < rounds
    done = 0 if in_vain or status is TrainingStatus.INITIAL else min(held, rounds)
    return Standing(
        plan=plan,
        shorthand=msgspec.to_builtins(words),
        status=status,
        reason=_reason(status, f"{done} of {rounds} rounds are done"),
        rounds_done=done,
        first_round=0 if in_vain else held - done,
        remarks=tuple(_remarks(row, status, held if in_vain else 0)),
    )


def _words(row: Training) -> shorthands.Shorthand:
    given = {
        "aggregation_method": row.aggregation_method,
        "uncertainty_method": row.uncertainty_method,
        "options": row.options if row.options is not None else {},
    }
    try:
        return msgspec.convert(given, shorthands.Shorthand)
    except msgspec.ValidationError as error:
        raise UnusableTrainingError(f"its methods or options cannot be used: {error}") from error


def _plan(words: shorthands.Shorthand, rounds: int) -> plans.Plan:
    """`rounds` counts every small round already: that platform multiplied when the training was made."""
    try:
        plan = msgspec.structs.replace(shorthands.expand(words, updates=1), rounds=rounds)
        return plans.parse(plans.to_data(plan))
    except shorthands.ShorthandError as error:
        raise UnusableTrainingError(f"{error.field}: {error}") from error
    except plans.UnsoundPlanError as error:
        raise UnusableTrainingError(str(error)) from error


def _reason(status: TrainingStatus, done: str) -> str:
    if status is TrainingStatus.PAUSED:
        return (
            f"It was under way when it was taken over from the DLR platform; {done}. See that its clients are there, "
            "then resume it."
        )
    if status is TrainingStatus.ERROR:
        return (
            f"It had failed on the DLR platform, which keeps no reason; {done}. Look at its clients and what they "
            "send, then resume it, or cancel it."
        )
    return "completed on the DLR platform" if status is TrainingStatus.COMPLETED else ""


def _remarks(row: Training, status: TrainingStatus, in_vain: int) -> Iterable[str]:
    if status is TrainingStatus.PAUSED:
        yield "it is under way there; here it is paused until somebody resumes it (hansa trainings resume)"
    if row.state == "S":
        yield "the moments of its last round were not all in there, and are not taken"
    if in_vain:
        yield (
            f"its {in_vain} rounds so far have left no trace in its model (daisy chaining is aggregated at the very "
            "end there), so here it begins with the first"
        )
    if row.target_num_updates < 1:
        yield f"{row.target_num_updates} updates were asked for; that platform makes one, and so it is one here"
