from django.apps import AppConfig


class OpsConfig(AppConfig):
    """No tables: pages and answers that belong to no feature."""

    name = "hansa.server.ops"
    label = "ops"
