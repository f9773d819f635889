"""New accounts of people: what is asked for is checked in full before a password is hashed or a row written."""

from datetime import datetime

from django.contrib.auth.password_validation import validate_password
from django.core import exceptions as django
from django.db import IntegrityError
from rest_framework.exceptions import ValidationError

from hansa.protocol.accounts import UserCreate
from hansa.server.accounts import endpoints
from hansa.server.accounts.models import Token, User
from hansa.server.accounts.secrets import digest, new_token
from hansa.server.changes import change

FIRST_TOKEN = "registration"  # noqa: S105  # its name, not its text
TAKEN = "A user with that username already exists. Choose another."


def draft(asked: UserCreate) -> User:
    """The user that is asked for: not saved, and without a password. Raises field errors, all at once."""
    user = User(
        username=User.normalize_username(asked.username),
        first_name=asked.first_name,
        last_name=asked.last_name,
        email=asked.email,
        actor=asked.actor,
        client=asked.client,
        message_endpoint=asked.message_endpoint,
    )
    wrong: dict[str, list[str]] = {}
    try:
        user.full_clean(exclude={"password"}, validate_unique=False)
    except django.ValidationError as error:
        wrong |= error.message_dict
    if User.objects.filter(username=user.username).exists():
        wrong["username"] = [TAKEN]
    try:
        validate_password(asked.password, user)
    except django.ValidationError as error:
        wrong["password"] = error.messages
    try:
        if user.message_endpoint:
            endpoints.check(user.message_endpoint)
    except endpoints.EndpointError as error:
        wrong["message_endpoint"] = [str(error)]
    if wrong:
        raise ValidationError(wrong)
    return user


def register(*, user: User, now: datetime) -> str:
    """Save a user that was drafted, with the hash of a password, and return the text of a first token.

    Raises a field error if somebody took the name meanwhile; then there is neither.
    """
    text = new_token()
    try:
        with change("accounts.register"):
            user.save(force_insert=True)
            Token.objects.create(user=user, name=FIRST_TOKEN, digest=digest(text), created_at=now)
    except IntegrityError as error:
        raise ValidationError({"username": [TAKEN]}) from error
    return text
