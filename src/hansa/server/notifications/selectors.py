"""Reads of the outbox for whoever delivers it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Min

from hansa.server.notifications.models import Notification, State


@dataclass(frozen=True, slots=True)
class Line:
    """Messages of one queue to one receiver: they are sent one after the other, beside all other lines."""

    queue: UUID
    receiver_id: UUID


@dataclass(frozen=True, slots=True)
class Letter:
    """A message that is due, and where it goes as of now."""

    id: int
    queue: UUID
    message_id: UUID
    kind: str
    body: dict[str, Any]  # Any: the JSON object that is sent
    endpoint: str
    """Empty: its receiver has none any more, or is no longer active."""
    attempts: int


def lines() -> dict[Line, datetime]:
    """Every line with something to send, and when its first message is due; of each queue in turn.

    In turn, so that a training with thousands of receivers does not make the others wait.
    """
    firsts = Notification.objects.filter(state=State.PENDING).values("queue", "receiver").annotate(first=Min("id"))
    rows = Notification.objects.filter(id__in=firsts.values("first")).order_by("id")
    before: dict[UUID, int] = {}
    ranked = []
    for place, (queue, receiver, due) in enumerate(rows.values_list("queue", "receiver_id", "next_attempt_at")):
        before[queue] = before.get(queue, 0) + 1
        ranked.append(((before[queue], place), Line(queue, receiver), due))
    return {line: due for _, line, due in sorted(ranked, key=lambda each: each[0])}


def next_letter(line: Line, now: datetime) -> Letter | None:
    """The first pending message of a line, if it is due."""
    rows = Notification.objects.filter(queue=line.queue, receiver=line.receiver_id, state=State.PENDING)
    row = rows.select_related("receiver").order_by("id").first()
    if row is None or row.next_attempt_at > now:
        return None
    endpoint = row.receiver.message_endpoint if row.receiver.is_active else ""
    return Letter(row.id, row.queue, row.message_id, row.kind, row.body, endpoint, row.attempts)
