"""The outbox: what is to be told to whom, and what became of it."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q


class State(models.TextChoices):
    """Where a message is. All but PENDING are final."""

    PENDING = "pending"
    DELIVERED = "delivered"
    REJECTED = "rejected"
    """The receiver answered, and not with a 2xx."""
    UNREACHABLE = "unreachable"
    """No answer after all attempts."""
    DROPPED = "dropped"
    """A newer message, or the end of its training, made it pointless; or there is nowhere to send it to."""


class Notification(models.Model):
    """One message to one receiver. `id` is its place in the queue: lower ones go first."""

    id = models.BigAutoField(primary_key=True)
    message_id = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    """Sent as a header with every attempt: a receiver that sees it twice may ignore the second."""
    queue = models.UUIDField()
    """The training. Messages of one queue to one receiver are sent one after the other."""
    receiver = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="notifications")
    kind = models.CharField(max_length=32)
    body = models.JSONField()
    subject = models.UUIDField(null=True, blank=True)
    """What its outcome is about, for whoever sent it: the task."""
    supersedable = models.BooleanField(default=False)
    """Whether a later supersedable message of its queue and receiver makes it pointless."""
    state = models.CharField(max_length=12, choices=State.choices, default=State.PENDING)
    reason = models.CharField(max_length=500, blank=True)
    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField()
    created_at = models.DateTimeField()
    settled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("id",)
        indexes = (
            models.Index(fields=("queue", "receiver"), condition=Q(state="pending"), name="notifications_to_send"),
            models.Index(fields=("subject",), name="notifications_of_a_task"),
        )

    def __str__(self) -> str:
        return f"{self.kind} to {self.receiver_id}"
