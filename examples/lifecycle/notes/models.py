from django.conf import settings
from django.db import models


class Note(models.Model):
    """A line that somebody wrote."""

    text = models.CharField(max_length=200)
    author = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)
    written_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("id",)
