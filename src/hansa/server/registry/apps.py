from django.apps import AppConfig


class RegistryConfig(AppConfig):
    """Models, versions, metrics."""

    name = "hansa.server.registry"
    label = "registry"
    verbose_name = "Models"
