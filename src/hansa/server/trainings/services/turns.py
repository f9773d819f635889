"""One change to a training at a time, where several threads write.

SQLite has one writer (lifecycle/bridge.py). On PostgreSQL services run side by side, and each query sees what was
committed when it began: a report could be acknowledged while the round closes without it. So whoever changes a
training, its rounds, tasks or participants takes its turn first, before looking at them. The turn comes before any
other row, so that no two wait for each other.
"""

from uuid import UUID

from django.db import connection
from django.db.models import QuerySet

from hansa.server.trainings.models import Training


def others_write() -> bool:
    """Whether other threads than this one may be changing rows: not on SQLite."""
    return connection.features.has_select_for_update


def take_turn(trainings: QuerySet[Training]) -> bool:
    """Lock the rows of these trainings until the transaction ends; False where nobody else could be writing."""
    if not others_write():
        return False
    list(trainings.order_by("id").select_for_update(of=("self",), no_key=True))
    return True


def take_turn_at(training_id: UUID) -> bool:
    """The turn at one training."""
    return others_write() and take_turn(Training.objects.filter(id=training_id))


def take_turn_at_task(task_id: UUID) -> bool:
    """The turn at the training of a task."""
    return others_write() and take_turn(Training.objects.filter(rounds__tasks=task_id))
