from django.contrib import admin

from hansa.server.lifecycle.history import HistoryAdmin
from hansa.server.registry.models import Metric, Model, ModelVersion


@admin.register(Model)
class ModelAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # ModelAdmin is generic in the stubs only
    """Models: name and description may be mended; what they are made of is history."""

    list_display = ("name", "id", "owner", "kind", "created_at")
    search_fields = ("name", "id")
    list_select_related = ("owner",)
    fields = ("name", "description", "owner", "kind", "input_shape", "created_at")
    readonly_fields = ("owner", "kind", "input_shape", "created_at")

    def has_add_permission(self, request: object) -> bool:
        """Models come from files, by the API."""
        return False

    def has_delete_permission(self, request: object, obj: object = None) -> bool:
        """Models are deleted by the API, which looks at what hangs on them."""
        return False


@admin.register(ModelVersion)
class ModelVersionAdmin(HistoryAdmin):
    """Versions are immutable."""

    list_display = ("model", "number", "blob", "created_at")
    list_select_related = ("model", "blob")


@admin.register(Metric)
class MetricAdmin(HistoryAdmin):
    """Metrics as reported."""

    list_display = ("model", "step", "kind", "key", "value", "reporter")
    list_filter = ("kind", "key")
    list_select_related = ("model", "reporter")
