"""Whether each attempt at a round that was abandoned had to be: what clients had sent for it counts nowhere.

Kills alone are no reason. A server that comes again goes on with the round it finds; a client that comes again does the
task that it had. An attempt comes to nothing only where fewer clients than the plan needs have reported, and the event
log says of each other one that it was lost or has failed; or where time was up, by a deadline of the plan; or where
nobody at all has come, and others could be asked.
"""

from collections.abc import Iterator

from hansa.protocol.events import EventKind
from hansa.protocol.tasks import TaskKind
from hansa.rounds import plan as plans
from hansa.rounds.states import RoundState, TaskState
from hansa.simulation.chaos.record import Record, Round, Task, Training

STANDING = frozenset({EventKind.TASK_LEASED, EventKind.TASK_REPORTED, EventKind.TASK_LOST, EventKind.TASK_FAILED})
GONE = frozenset({EventKind.TASK_LOST, EventKind.TASK_FAILED})


def unsupported(record: Record, training: Training) -> Iterator[str]:
    """The abandoned attempts for which there is no reason in the record."""
    for of in record.rounds_of[training.id]:
        if of.state == RoundState.ABANDONED.value and (why := _unsupported(record, training, of)):
            yield f"{of.title} was abandoned, {why}"


def _unsupported(record: Record, training: Training, of: Round) -> str:
    """What speaks against its having been abandoned; "" where nothing does."""
    plan = plans.parse(dict(training.plan))
    tasks = [task for task in record.tasks_of[of.id] if task.kind == TaskKind.TRAIN.value]
    reported = [task for task in tasks if task.state == TaskState.REPORTED.value]
    needed = plans.min_reports(
        plan, cohort=min(plans.cohort_size(plan, participants=training.participants), len(tasks))
    )
    if of.accepted:
        return f"and {len(of.accepted)} updates were accepted for it"
    if len(reported) >= needed:
        return f"and {len(reported)} clients had reported, of whom {needed} are enough"
    stands = _standing(record, of)
    waited_for = [task for task in tasks if task not in reported and stands.get(task.ordinal) not in GONE]
    if not waited_for or plan.closing.deadline_seconds is not None:
        return ""
    if not stands and plans.invitations(plan, participants=training.participants) < training.participants:
        return ""
    return f"and client {_ordinals(waited_for)} was still waited for"


def _standing(record: Record, of: Round) -> dict[int, str]:
    """What was last noted of each client that has come for its task of this attempt."""
    return {
        event.ordinal: event.kind
        for event in record.events
        if (event.training, event.round, event.attempt) == (of.training, of.number, of.attempt)
        and event.task == TaskKind.TRAIN.value
        and event.kind in STANDING
    }


def _ordinals(tasks: list[Task]) -> str:
    return ", ".join(str(task.ordinal) for task in tasks)
