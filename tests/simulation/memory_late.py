"""Late updates in the model: which may still come, and which count in the round that closes."""

from dataclasses import replace

from hansa.core import staleness
from hansa.protocol.tasks import TaskKind
from hansa.rounds import plan as plans
from hansa.rounds.states import LIVE_ROUND_STATES, RoundState, TaskState
from simulation.rows import Key, Late
from simulation.tables import Tables

CLOSED = LIVE_ROUND_STATES - {RoundState.COLLECTING}


def takes(of: Tables, task: Key) -> bool:
    """Whether the result of a closed task may still come, to count in the round that closes next."""
    row = of.store.tasks[task]
    asked = of.store.rounds[row.round]
    plan = of.learnings[asked.training].plan
    if not isinstance(plan.late, plans.Fold) or (row.kind, row.state) != (TaskKind.TRAIN, TaskState.CLOSED):
        return False
    if asked.state not in CLOSED | {RoundState.DONE} or not of.member(task).selectable or task in of.store.updates:
        return False
    live = of.live(asked.training)
    closed = live is not None and of.store.rounds[live].state in CLOSED
    number = of.store.trainings[asked.training].rounds_done + (2 if closed else 1)
    return number <= plan.rounds and number - asked.number <= plan.late.max_staleness


def fold(of: Tables, closing: Key) -> tuple[Late, ...] | None:
    """The late updates that count in a round, from now on in no other; None where the plan discards them."""
    row = of.store.rounds[closing]
    plan = of.learnings[row.training].plan
    if not isinstance(plan.late, plans.Fold):
        return None
    folded = []
    for task, update in [*of.store.updates.items()]:
        came = of.store.tasks[task]
        asked = of.store.rounds[came.round]
        is_late = came.kind is TaskKind.TRAIN and came.state is TaskState.CLOSED and asked.state is RoundState.DONE
        tau = row.number - asked.number
        if is_late and asked.training == row.training and update.folded_into is None and tau <= plan.late.max_staleness:
            of.store.updates[task] = replace(update, folded_into=closing)
            examples = update.examples if plan.aggregator.weighting == "examples" else 1
            weight = staleness.weight(examples, tau, plan.late.exponent)
            folded.append((came.ordinal, update.digest, weight, asked.number))
    return tuple(sorted(folded, key=lambda line: (line[3], line[0])))
