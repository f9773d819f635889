"""The same user as Hansa's."""

import uuid

from django.contrib.auth.models import AbstractUser
from django.db import models


class User(AbstractUser):
    """A person or a client."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    actor = models.BooleanField(default=False)
    client = models.BooleanField(default=False)
    message_endpoint = models.CharField(max_length=500, blank=True)
