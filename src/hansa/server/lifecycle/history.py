"""Admin pages of rows that are history: to be read, not to be written."""

from django.contrib import admin
from django.http import HttpRequest


class HistoryAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # ModelAdmin is generic in the stubs only
    """Everything can be looked at; nothing can be added, changed or deleted."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Rows are made by services only."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Rows are changed by services only."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Rows are deleted by services only."""
        return False
