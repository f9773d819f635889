from django.contrib import admin

from hansa.server.lifecycle.history import HistoryAdmin
from hansa.server.registry.models import Calibration, MeanMember, Metric, Model, ModelVersion


@admin.register(Model)
class ModelAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # ModelAdmin is generic in the stubs only
    """Models: name and description may be mended; what they are made of is history."""

    list_display = ("name", "id", "owner", "kind", "created_at")
    list_filter = ("kind",)
    search_fields = ("name", "id")
    list_select_related = ("owner",)
    readonly_fields = (
        "owner",
        "kind",
        "arrays",
        "input_shape",
        "first_round",
        "preprocessing",
        "archive",
        "created_at",
    )
    fields = ("name", "description", *readonly_fields)

    @admin.display
    def arrays(self, model: Model) -> int:
        """How many there are: thousands, in models of language."""
        return len(model.spec)

    def has_add_permission(self, request: object) -> bool:
        """Models come from files, by the API."""
        return False

    def has_delete_permission(self, request: object, obj: object = None) -> bool:
        """Models are deleted by the API, which looks at what hangs on them."""
        return False


@admin.register(MeanMember)
class MeanMemberAdmin(HistoryAdmin):
    """Which models a mean is made of."""

    list_display = ("mean", "position", "member")
    list_select_related = ("mean", "member")


@admin.register(ModelVersion)
class ModelVersionAdmin(HistoryAdmin):
    """Versions are immutable."""

    list_display = ("model", "number", "blob", "created_at")
    list_select_related = ("model", "blob")


@admin.register(Calibration)
class CalibrationAdmin(HistoryAdmin):
    """What clients told of a version's confidence, added up."""

    list_display = ("version", "temperature", "rule", "examples", "clients")
    list_select_related = ("version__model",)


@admin.register(Metric)
class MetricAdmin(HistoryAdmin):
    """Metrics as reported."""

    list_display = ("model", "step", "kind", "key", "shown", "reporter")
    list_filter = ("kind", "key")
    list_select_related = ("model", "reporter")
    readonly_fields = ("shown",)
    exclude = ("value",)

    @admin.display(description="value")
    def shown(self, metric: Metric) -> float | str | None:
        """The number, or the text that is none."""
        return metric.value if metric.text is None else bytes(metric.text).decode(errors="replace")
