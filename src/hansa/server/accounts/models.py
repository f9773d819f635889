"""Users, their API tokens, one-time invitations, and what they were answered. No secret is stored in clear."""

import uuid

from django.contrib.auth.models import AbstractUser
from django.db import models


class User(AbstractUser):
    """A person, a client, or both. An `actor` may invite clients; a `client` may be named as a participant."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    actor = models.BooleanField(default=False, help_text="May invite clients.")
    client = models.BooleanField(default=False, help_text="May be named as a participant.")
    message_endpoint = models.CharField(max_length=500, blank=True)
    invited_by = models.ForeignKey("self", null=True, blank=True, on_delete=models.SET_NULL, related_name="invited")
    last_seen = models.DateTimeField(null=True, blank=True)
    """When the client last leased a task."""

    @property
    def may_act(self) -> bool:
        """Whether the user may invite clients and see who is there."""
        return self.actor or self.is_superuser

    @property
    def may_own(self) -> bool:
        """Whether the user may create models and trainings: a person may, a machine that was invited may not."""
        return self.may_act or self.has_usable_password()

    @property
    def may_register(self) -> bool:
        """Whether the user may make accounts for others, and so see what belongs to an account."""
        return self.is_active and (self.is_staff or self.is_superuser)


class Token(models.Model):
    """An API token: 40 hex characters, of which only the SHA-256 is kept."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=100, blank=True)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("created_at",)

    def __str__(self) -> str:
        return f"{self.name or 'token'} of {self.user_id}"


class Invitation(models.Model):
    """A one-time code with which a client fetches its token; only its SHA-256 is kept."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="invitations")
    invited_by = models.ForeignKey(User, on_delete=models.CASCADE, related_name="invitations_sent")
    digest = models.CharField(max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("created_at",)

    def __str__(self) -> str:
        return f"invitation of {self.user_id}"


class Answered(models.Model):
    """What was answered to a request that made something, for its repetition. See `repeats`."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=64)
    """Of the user's own choosing."""
    request = models.CharField(max_length=64)
    """SHA-256 of what was asked for."""
    answer = models.TextField()
    """JSON."""
    answered_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("user", "key"), name="one_answer_per_key"),)

    def __str__(self) -> str:
        return f"answer to {self.key} of {self.user_id}"
