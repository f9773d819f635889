"""Whether push clients could be told of their tasks, for queries over tasks. Reads only; `services.push` tells them."""

from django.db.models import OuterRef, QuerySet

from hansa.server.notifications.models import Notification, State

NOT_TOLD = "not told, waiting for the client to ask"
"""How the reason of a task begins that we may not send to its client's endpoint."""


def being_told() -> QuerySet[Notification]:
    """The message that is on its way to a task's client, if there is one."""
    return Notification.objects.filter(subject=OuterRef("id"), state=State.PENDING)
