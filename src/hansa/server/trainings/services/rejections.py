"""What clients sent and the server cannot use: noted in the event log, in a change of its own, as there is no other."""

from uuid import UUID

from django.db import transaction

from hansa.protocol.events import EventKind
from hansa.server.changes import change
from hansa.server.trainings.hints import HINTS
from hansa.server.trainings.models import Task
from hansa.server.trainings.services import eventlog
from hansa.server.trainings.services.turns import take_turn_at_task


def note(*, task_id: UUID, user_id: UUID, code: str, reason: str) -> None:
    """The client was told that what it sent for its task is refused. Nothing if there is no such task any more."""
    with change("rejections.note"):
        take_turn_at_task(task_id)
        own = Task.objects.filter(id=task_id, participation__client_id=user_id)
        task = own.select_related("round").defer("metrics").first()
        if task is None:
            return
        eventlog.note_again(EventKind.TASK_REFUSED, task, reason=reason, data={"code": code})
        training_id = task.round.training_id
        transaction.on_commit(lambda: HINTS.wake([training_id]))
