from django.apps import AppConfig


class NotificationsConfig(AppConfig):
    """The outbox."""

    name = "hansa.server.notifications"
    label = "notifications"
    verbose_name = "Notifications"
