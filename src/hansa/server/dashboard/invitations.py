"""Inviting a machine by a form: its name, how long its code is good for, and the line that is pasted there."""

import shlex
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import msgspec
from django.utils import timezone
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from hansa.protocol.accounts import Invitation, InvitationCreate
from hansa.server.accounts import services
from hansa.server.accounts.permissions import caller
from hansa.server.lifecycle.bridge import call
from hansa.server.lifecycle.fields import all_errors_of

LIFETIMES: Final = (("3600", "an hour"), ("86400", "a day"), ("604800", "a week"), ("2592000", "30 days"))
USUAL: Final = "86400"
"""Seconds for which a code is good, where none are asked for."""
FIELDS: Final = {"expires_in_seconds": "expires"}
"""The form's, by those of the API."""
_RULES: Final = {
    "username": "A client's name has 1 to 150 letters, digits, and @ . + - _ only.",
    "expires_in_seconds": "A code is good for 30 days at most.",
}


@dataclass(frozen=True, slots=True)
class Invited:
    """A machine that may come now."""

    invitation: Invitation
    line: str
    """What is pasted into a shell on that machine."""


async def invite(request: Request, by: Callable[..., Invitation] = services.invite) -> Invited:
    """By the fields `username` and `expires`, and a service that takes what is in them. The code is in this answer and
    nowhere else.

    Raises ValidationError by the names of the API, ServiceError that is about `username`.
    """
    asked = _asked(str(request.POST.get("username", "")).strip(), str(request.POST.get("expires", USUAL)))
    made = await call(
        by,
        actor=caller(request),
        username=asked.username,
        expires_in_seconds=asked.expires_in_seconds,
        now=timezone.now(),
    )
    return Invited(made, line(made.code, request.build_absolute_uri("/").rstrip("/")))


def _asked(username: str, expires: str) -> InvitationCreate:
    seconds: object = expires
    with suppress(ValueError):
        seconds = float(expires)
    fields = {"username": username, "expires_in_seconds": seconds}
    try:
        return msgspec.convert(fields, InvitationCreate)
    except msgspec.ValidationError as error:
        wrong = all_errors_of(error, InvitationCreate, msgspec.json.encode(fields))
        raise ValidationError({name: [_RULES[name]] for name in wrong}) from error


def line(code: str, server: str) -> str:
    """What brings a machine in.

    >>> line("AAAA-BBBB", "https://hansa.example")
    'hansa enroll AAAA-BBBB --server https://hansa.example'
    """
    return shlex.join(["hansa", "enroll", code, "--server", server])
