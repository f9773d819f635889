"""How clients did the tasks they took: what is remembered of it for later rounds, and who is asked no more.

Only training counts. A task has failed when its client says so or refuses it, and when its round closes while it is
lost: until then the client may come back to it. One that was never taken is nobody's failure, nor is one that was not
taken anew since lost bytes had its round collect once more (`torn`); and no task is more than one failure. The first
report that is accepted sets the count to nothing. Each is part of a change that its caller has opened.
"""

from collections.abc import Sequence
from uuid import UUID

from django.db.models import BigIntegerField, F, QuerySet

from hansa.protocol.events import EventKind
from hansa.protocol.tasks import TaskKind
from hansa.rounds.states import TaskState
from hansa.server.prepared import Changed, Slot
from hansa.server.trainings.models import Participation, Task, Training
from hansa.server.trainings.services import eventlog

_TRAINED = Changed(
    lambda: Participation.objects.filter(id=Slot("participation", BigIntegerField())),
    num_examples=Slot("num_examples", BigIntegerField()),
    failures=0,
)


def note_report(task: Task, num_examples: int) -> None:
    """The client has trained, on so many examples. Writes only what is news."""
    known = task.participation
    if task.kind == TaskKind.TRAIN.value and (known.num_examples, known.failures) != (num_examples, 0):
        _TRAINED(participation=known.id, num_examples=num_examples)


def note_lost(closing: QuerySet[Task]) -> None:
    """Of tasks that are about to close, those that were taken and are lost have failed."""
    note_failed(closing.filter(state=TaskState.LOST.value, leased_at__isnull=False))


def note_failed(tasks: QuerySet[Task]) -> None:
    """These tasks of one training have failed; whoever has failed as often as the plan allows is excluded."""
    trained = tasks.filter(kind=TaskKind.TRAIN.value, failure_counted=False)
    failed = list(trained.values_list("participation_id", "round__training_id", "round__number"))
    if not failed:
        return
    who = [participation for participation, *_ in failed]
    Participation.objects.filter(id__in=who).update(failures=F("failures") + 1)
    trained.update(failure_counted=True)
    _, training_id, number = failed[0]
    allowed = Training.objects.get(id=training_id).parsed_plan.participation.exclude_after
    if allowed is not None:
        _exclude(training_id, who, allowed, number)


def _exclude(training_id: UUID, who: Sequence[int], allowed: int, number: int) -> None:
    """Nothing of an excluded client is left to close: the task that failed was its only one in the round."""
    too_often = Participation.objects.filter(id__in=who, failures__gte=allowed, excluded="")
    failed = "tasks that failed, or were lost after it had taken them"
    reason, whom = f"{failed}: {allowed} in a row, the last in round {number}", too_often.values_list("id", flat=True)
    eventlog.note_participants(EventKind.PARTICIPANT_EXCLUDED, training_id, whom, reason=reason)
    too_often.update(excluded=reason)
