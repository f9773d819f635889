from django.apps import AppConfig


class TrainingsConfig(AppConfig):
    """Trainings and everything in them."""

    name = "hansa.server.trainings"
    label = "trainings"
    verbose_name = "Trainings"
