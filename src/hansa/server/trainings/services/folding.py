"""Late updates in rows: which may still come, and which count in the round that closes.

A TRAIN task whose round has stopped collecting is CLOSED, and stays so. Where the plan says `late: fold`, its client
may report all the same: an update of a CLOSED task is a *late* one. It waits until the next round closes and counts
there, with its weight after staleness: `Round.folded` has it, written in the transaction that writes the accepted list,
and `Update.folded_into` keeps it from counting again. Which round that is, and so how late it is, stands when the
report is accepted: a round closes under the number under which it was begun, in whatever attempt.

What came for an attempt that was abandoned counts nowhere, late or not: its client is asked anew.
"""

from uuid import UUID

from django.db import transaction
from django.db.models import F, IntegerField, Q, QuerySet
from django.db.models.fields.json import KeyTextTransform, KeyTransform
from django.db.models.functions import Cast

from hansa.core import staleness
from hansa.protocol.events import EventKind
from hansa.protocol.tasks import TaskKind
from hansa.rounds import plan as plans
from hansa.rounds.rules import knows_examples
from hansa.rounds.states import FINAL_TRAINING_STATUSES, LIVE_ROUND_STATES, RoundState, TaskState, TrainingStatus
from hansa.server.changes import change
from hansa.server.trainings.hints import HINTS
from hansa.server.trainings.models import Round, Task, Training, Update
from hansa.server.trainings.services import eventlog
from hansa.server.trainings.services.turns import take_turn_at

COLLECTED = LIVE_ROUND_STATES - {RoundState.COLLECTING} | {RoundState.DONE}
"""The states of a round that takes no more in, and was not abandoned."""
RUNNING = frozenset({TrainingStatus.ONGOING.value, TrainingStatus.PAUSED.value})
_CLOSED_TRAIN = Q(kind=TaskKind.TRAIN.value, state=TaskState.CLOSED.value)
_LATE = Q(task__kind=TaskKind.TRAIN.value, task__state=TaskState.CLOSED.value)


def takes(task: Task) -> bool:
    """Whether the result of a task whose round has closed may still come, to count in the round that closes next."""
    return may_count(task) and not Update.objects.filter(task=task).exists()


def may_count(task: Task) -> bool:
    """Whether what comes of a task whose round has closed counts in the round that closes next; come or not."""
    training, late = task.round.training, task.round.training.parsed_plan.late
    if not isinstance(late, plans.Fold) or (task.kind, task.state) != (TaskKind.TRAIN.value, TaskState.CLOSED.value):
        return False
    if task.round.state not in COLLECTED or training.status not in RUNNING:
        return False
    if not task.participation.active or task.participation.excluded:
        return False
    number = next_to_close(training)
    return number <= int(training.plan["rounds"]) and number - task.round.number <= late.max_staleness


def next_to_close(training: Training) -> int:
    """The number of the round whose accepted list is the next to be written; it may be one more than the plan has."""
    collected = training.rounds.filter(state__in=[state.value for state in COLLECTED - {RoundState.DONE}])
    return training.rounds_done + (2 if collected.exists() else 1)


def fold(closing: Round, training: Training) -> list[list[object]] | None:
    """The late updates that count in this round: ordinal, digest, weight and round of each, by round and ordinal.

    None where the plan discards them. To be called in the transaction that closes the round.
    """
    plan = training.parsed_plan
    late = plan.late
    if not isinstance(late, plans.Fold):
        return None
    by_examples = knows_examples(plan.aggregator)
    waiting = _waiting(training, late, closing.number)
    rows = waiting.order_by("task__round__number", "task__participation__ordinal")
    listed = list(rows.values_list("task__participation__ordinal", "digest", "num_examples", "task__round__number"))
    waiting.update(folded_into=closing)
    return [
        [
            ordinal,
            digest,
            staleness.weight(examples if by_examples else 1, closing.number - number, late.exponent),
            number,
        ]
        for ordinal, digest, examples, number in listed
    ]


def _waiting(training: Training, late: plans.Fold, number: int) -> QuerySet[Update]:
    return Update.objects.filter(
        _LATE,
        task__round__training=training,
        task__round__state=RoundState.DONE.value,
        task__round__number__lt=number,
        task__round__number__gte=number - late.max_staleness,
        folded_into=None,
        blob__isnull=False,
    )


def unfold(abandoned: Round) -> None:
    """The round comes to nothing: what counted in it waits for the next attempt. Its own list stays as its record."""
    Update.objects.filter(folded_into=abandoned).update(folded_into=None)


def drop(*, training_id: UUID, number: int, ordinal: int, reason: str) -> bool:
    """The round that is being aggregated does without this client's late update of round `number`: its bytes are gone.

    The list is written anew, as no version has come of it yet, and whoever computes must begin anew. The client is not
    asked again: it would have to train from a version that is no longer the newest. False if it counts in none.
    """
    with change("folding.drop"):
        take_turn_at(training_id)
        closed = Round.objects.filter(training_id=training_id, state=RoundState.AGGREGATING.value)
        late = Update.objects.filter(
            folded_into__in=closed, task__round__number=number, task__participation__ordinal=ordinal
        )
        row, update = closed.first(), late.first()
        if row is None or update is None:
            return False
        without = (
            f"; without the late update of client {ordinal} from round {number}, which is lost: it cannot be asked for "
            "again"
        )
        closed.update(
            folded=[line for line in row.folded or [] if (line[3], line[0]) != (number, ordinal)],
            reason=f"{row.reason}{without}",
            closing_reason=f"{row.closing_reason}{without}",
            claim=None,
            claimed_until=None,
        )
        Update.objects.filter(id=update.id).update(folded_into=None, blob=None, reason=reason[:500])
        Task.objects.filter(id=update.task_id).update(uploaded=None)
        eventlog.note_tasks(EventKind.TASK_DROPPED, Task.objects.filter(id=update.task_id), reason=reason)
        transaction.on_commit(lambda: HINTS.moved(training_id))
    return True


def wanted(training: Training, rounds_done: int) -> QuerySet[Task]:
    """Of a training's tasks those whose late updates may still count, or count in the newest version or its successor.

    Those in the newest version because it may be lost: its clients are asked again then, and who was late cannot be.
    """
    late = training.parsed_plan.late
    over = training.status in FINAL_TRAINING_STATUSES or rounds_done >= training.plan["rounds"]
    if over or not isinstance(late, plans.Fold):
        return Task.objects.none()
    in_time = Q(round__number__gt=rounds_done - late.max_staleness, round__state=RoundState.DONE.value)
    waiting = Q(update=None) | Q(update__folded_into=None)
    alive = Q(update__folded_into__state__in=[state.value for state in LIVE_ROUND_STATES])
    newest = Q(update__folded_into__state=RoundState.DONE.value, update__folded_into__number=rounds_done)
    counting = alive | newest
    return Task.objects.filter(_CLOSED_TRAIN & (in_time & waiting | counting), round__training=training)


def open_tasks() -> QuerySet[Task]:
    """Tasks of closed rounds, of whatever training, whose results may still come."""
    late = KeyTransform("late", "round__training__plan")
    latest = Cast(KeyTextTransform("max_staleness", late), IntegerField())
    closed = Task.objects.filter(
        _CLOSED_TRAIN,
        update=None,
        round__state__in=[state.value for state in COLLECTED],
        round__training__status__in=RUNNING,
        round__training__plan__late__kind="fold",
    )
    return closed.filter(round__number__gt=F("round__training__rounds_done") - latest)
