from django.contrib import admin

from hansa.server.lifecycle.history import HistoryAdmin
from hansa.server.trainings.models import Event, Participation, Round, Task, Training, Update


@admin.register(Training)
class TrainingAdmin(HistoryAdmin):
    """Trainings are steered by the API, where each change of state is guarded."""

    list_display = ("name", "id", "status", "reason", "actor", "rounds_done", "created_at")
    list_filter = ("status",)
    list_select_related = ("actor",)


@admin.register(Participation)
class ParticipationAdmin(HistoryAdmin):
    """Who takes part in what."""

    list_display = ("training", "ordinal", "client", "active")
    list_select_related = ("training", "client")


@admin.register(Round)
class RoundAdmin(HistoryAdmin):
    """Rounds, with their accepted lists."""

    list_display = ("training", "number", "attempt", "state", "reason", "opened_at", "done_at")
    list_filter = ("state",)
    list_select_related = ("training",)


@admin.register(Task)
class TaskAdmin(HistoryAdmin):
    """What each client was asked, and what became of it."""

    list_display = ("id", "round", "participation", "kind", "state", "reason", "leased_at", "reported_at")
    list_filter = ("kind", "state")
    list_select_related = ("round", "participation")


@admin.register(Update)
class UpdateAdmin(HistoryAdmin):
    """Accepted updates. The row stays when the bytes are no longer kept."""

    list_display = ("digest", "task", "size", "num_examples", "norm", "received_at")
    list_select_related = ("task",)


@admin.register(Event)
class EventAdmin(HistoryAdmin):
    """What happened, in order."""

    list_display = ("id", "training", "kind", "round", "participation", "reason", "at")
    list_filter = ("kind",)
    list_select_related = ("training", "participation")
