"""What push clients are told of a training, queued in the transaction that makes it true.

A push client is a user with a `message_endpoint`. It may pull as well: nothing here keeps it from asking for tasks.

    TRAINING_START       the training was started                     participants
    UPDATE_ROUND_START   a TRAIN task is offered                      its client
    SWAG_ROUND_START     a SWAG task is offered                       its client
    MODEL_TEST_ROUND     an EVALUATE task is offered                  its client
    TRAINING_FINISHED    the training is COMPLETED                    participants, and the actor

What is told of a task counts as long as the task is on offer; what comes of it is in `deliveries`. CLIENT_REMOVED is
declared in the older contract and never sent.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Exists, OuterRef, Q, QuerySet, UUIDField

from hansa.protocol.tasks import TaskKind
from hansa.rounds.states import LIVE_ROUND_STATES, TaskState
from hansa.server.accounts.models import User
from hansa.server.notifications import services as outbox
from hansa.server.notifications.models import Notification, State
from hansa.server.notifications.services import Message
from hansa.server.prepared import Rows, Slot
from hansa.server.trainings.models import Participation, Task, Training

ROUND_KINDS = {
    TaskKind.TRAIN: "UPDATE_ROUND_START",
    TaskKind.SWAG: "SWAG_ROUND_START",
    TaskKind.EVALUATE: "MODEL_TEST_ROUND",
}
ON_OFFER = Q(state=TaskState.OFFERED.value) | Q(state=TaskState.LOST.value, leased_at=None)
"""Tasks their clients may still be told of: offers, and invitations nobody waits for."""


_HEARS = Rows(
    lambda: Participation.objects.filter(
        training_id=Slot("training", UUIDField()), client__is_active=True, client__message_endpoint__gt=""
    ).values_list("id")[:1]
)
"""Whether there is a participant to be told of anything."""
_TOLD = Rows(
    lambda: Notification.objects.filter(queue=Slot("training", UUIDField()), state=State.PENDING).values_list("id")[:1]
)
"""Whether there is anything still to be told."""


def started(training: Training, now: datetime) -> None:
    """Tell the participants that the training has begun; it comes before all else that is told of it."""
    outbox.enqueue(_to_all(training, "TRAINING_START", _participants(training)), now=now)


def finished(training: Training, now: datetime) -> None:
    """Tell the participants, and the actor, that the training is over; nothing is left to be told of its rounds."""
    withdraw(training.id)
    told = _participants(training) | _push_users().filter(id=training.actor_id)
    outbox.enqueue(_to_all(training, "TRAINING_FINISHED", told), now=now)


def keep_up(training: Training, now: datetime) -> None:
    """Bring the outbox in line with the tasks: tell of those on offer, withdraw what is told of others."""
    if not (_HEARS(training=training.id) or _TOLD(training=training.id)):
        return  # as of most trainings, after each of their moves: at the cost of two short queries
    on_offer = Task.objects.filter(ON_OFFER, id=OuterRef("subject"))
    pointless = outbox.pending(training.id).filter(~Exists(on_offer), supersedable=True)
    outbox.drop(pointless, reason="its task is no longer on offer")
    outbox.enqueue([_of_task(training, task) for task in _untold(training)], now=now)


def withdraw(training_id: UUID) -> None:
    """Nobody need be told of the training's tasks, at least for now."""
    rounds = outbox.pending(training_id).filter(supersedable=True)
    outbox.drop(rounds, reason="the training does not go on for now")


def dismiss(training_id: UUID, clients: Iterable[User]) -> None:
    """These clients are told nothing more."""
    theirs = outbox.pending(training_id).filter(receiver__in=[client.id for client in clients])
    outbox.drop(theirs, reason="the client was removed from the training")


def forget(training_id: UUID) -> None:
    """The training is deleted, and with it what was told of it."""
    outbox.forget(training_id)


def _untold(training: Training) -> QuerySet[Task]:
    """Tasks on offer to push clients who were not told of them."""
    told = Notification.objects.filter(subject=OuterRef("id")).exclude(state=State.DROPPED)
    live = [state.value for state in LIVE_ROUND_STATES]
    on_offer = Task.objects.filter(ON_OFFER, round__training=training, round__state__in=live)
    clients = on_offer.filter(participation__active=True, participation__client__in=_push_users())
    return clients.exclude(Exists(told)).select_related("round__training__model", "participation", "source")


def _of_task(training: Training, task: Task) -> Message:
    """The contract counts rounds from 0 while they collect; once a version is made it counts as one more."""
    kind, model = TaskKind(task.kind), task.round.training.model
    number = model.first_round + task.round.number - (1 if kind is TaskKind.TRAIN else 0)
    start = task.source.task_id if kind is TaskKind.TRAIN and task.source is not None else model.id
    body = {"round": number, "global_model_uuid": str(start)}
    client = task.participation.client_id
    message = _message(training, ROUND_KINDS[kind], body)
    return Message(training.id, client, ROUND_KINDS[kind], message, subject=task.id, supersedable=True)


def _to_all(training: Training, kind: str, receivers: QuerySet[User]) -> list[Message]:
    message = _message(training, kind, {"global_model_uuid": str(training.model_id)})
    return [Message(training.id, receiver, kind, message) for receiver in receivers.values_list("id", flat=True)]


def _message(training: Training, kind: str, body: dict[str, Any]) -> dict[str, Any]:  # Any: JSON
    """The contract's message, to the field."""
    return {"notification_type": kind, "training_uuid": str(training.id), "body": body}


def _push_users() -> QuerySet[User]:
    return User.objects.filter(is_active=True).exclude(message_endpoint="")


def _participants(training: Training) -> QuerySet[User]:
    active = training.participations.filter(active=True)
    return _push_users().filter(id__in=active.values("client_id"))
