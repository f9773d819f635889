"""Sessions of browsers: those that have expired are deleted, as nobody can use them any more."""

from datetime import datetime

from django.contrib.sessions.models import Session


def clear_expired(*, now: datetime) -> int:
    """How many were deleted: by one statement, which a crash undoes or not. Django's `clearsessions` does the same."""
    deleted, _ = Session.objects.filter(expire_date__lt=now).delete()
    return deleted
