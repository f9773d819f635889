from django.apps import AppConfig


class DashboardConfig(AppConfig):
    """No tables: pages over the other features' selectors and services."""

    name = "hansa.server.dashboard"
    label = "dashboard"
