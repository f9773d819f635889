from django.contrib import admin

from hansa.server.lifecycle.history import HistoryAdmin
from hansa.server.notifications.models import Notification


@admin.register(Notification)
class NotificationAdmin(HistoryAdmin):
    """What was told to whom, and what became of it."""

    list_display = ("id", "kind", "receiver", "state", "reason", "attempts", "created_at", "settled_at")
    list_filter = ("state", "kind")
    list_select_related = ("receiver",)
