"""Changes to the outbox. Called within the transaction of what is told of: both come to be, or neither."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from hansa.server.changes import change
from hansa.server.notifications.hints import BELL
from hansa.server.notifications.models import Notification, State
from hansa.server.notifications.outcomes import DELAYS, Outcome

BATCH = 500


@dataclass(frozen=True, slots=True)
class Message:
    """Something to be told."""

    queue: UUID
    receiver_id: UUID
    kind: str
    body: dict[str, Any]  # Any: the JSON object that is sent
    subject: UUID | None = None
    """What the outcome is about, for the sender's own use."""
    supersedable: bool = False


def enqueue(messages: Sequence[Message], *, now: datetime) -> None:
    """Put messages at the end of their queues. A supersedable one takes the place of its pending forerunners."""
    if not messages:
        return
    with change("outbox.enqueue"):
        for queue in {message.queue for message in messages}:
            newer = [message.receiver_id for message in messages if message.supersedable and message.queue == queue]
            for start in range(0, len(newer), BATCH):
                older = pending(queue).filter(supersedable=True, receiver__in=newer[start : start + BATCH])
                drop(older, reason="a newer message took its place")
        rows = [
            Notification(
                queue=message.queue,
                receiver_id=message.receiver_id,
                kind=message.kind,
                body=message.body,
                subject=message.subject,
                supersedable=message.supersedable,
                next_attempt_at=now,
                created_at=now,
            )
            for message in messages
        ]
        Notification.objects.bulk_create(rows, batch_size=BATCH)
        transaction.on_commit(BELL.ring)


def pending(queue: UUID) -> QuerySet[Notification]:
    """What is still to be told in a queue."""
    return Notification.objects.filter(queue=queue, state=State.PENDING)


def drop(messages: QuerySet[Notification], *, reason: str) -> int:
    """Those of the messages that are pending need not be told any more. One that is being sent may still arrive."""
    dropped = messages.filter(state=State.PENDING)
    return dropped.update(state=State.DROPPED, reason=reason, settled_at=Now())


def record(*, outcome: Outcome, now: datetime) -> Notification | None:
    """Write down what came of an attempt; None if the message was dropped, or deleted, meanwhile."""
    with change("outbox.record"):
        changes: dict[str, object] = {"state": outcome.state, "reason": outcome.reason[:500]}
        if outcome.next_attempt_at is None:
            changes["settled_at"] = now
        else:
            changes["next_attempt_at"] = outcome.next_attempt_at
        attempted = Notification.objects.filter(id=outcome.id)
        if not attempted.filter(state=State.PENDING).update(attempts=outcome.attempts, **changes):
            return None
        told = attempted.get()
        if told.state == State.UNREACHABLE:
            _spare_those_behind(told, now)
        return told


def _spare_those_behind(told: Notification, now: datetime) -> None:
    """What waited behind a message through its last pause was in vain as often: one attempt more settles it too."""
    waited = Q(created_at__lte=now - timedelta(seconds=DELAYS[-1]))
    behind = pending(told.queue).filter(waited, receiver=told.receiver_id, id__gt=told.id)
    behind.filter(attempts__lt=len(DELAYS)).update(attempts=len(DELAYS))


def take_back(subjects: Sequence[UUID]) -> None:
    """What was told of these is over: it can be told anew. What became of the messages stays written."""
    told = Notification.objects.filter(subject__in=subjects)
    drop(told, reason="it is told anew")
    told.exclude(state=State.PENDING).update(subject=None)


def forget(queue: UUID) -> None:
    """Delete a queue with all that was told in it."""
    Notification.objects.filter(queue=queue).delete()


def tidy(*, before: datetime) -> int:
    """Delete what was settled before a moment; the number of messages."""
    with change("outbox.tidy"):
        return Notification.objects.filter(settled_at__lt=before).delete()[0]
