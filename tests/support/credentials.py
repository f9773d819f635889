"""Callers who present credentials to the authenticators themselves, and a PostgreSQL behind everything Django does."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from itertools import count
from typing import Any
from unittest.mock import patch
from uuid import uuid4

from django.conf import settings as django_settings
from django.core.management import call_command
from django.db import connections
from django.test import override_settings
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from hansa.server.accounts.authentication import PasswordAuthentication, TokenAuthentication
from hansa.server.accounts.models import User

_callers = count(1)


async def user_of_token(text: str) -> User | None:
    """Whom the server takes the bearer of a token for; None if it is refused."""
    return await _accepted(TokenAuthentication(), f"Token {text}")


async def user_of_password(username: str, password: str) -> User | None:
    """Whom the server takes the bearer of a password for; None if it is refused."""
    pair = base64.b64encode(f"{username}:{password}".encode()).decode()
    return await _accepted(PasswordAuthentication(), f"Basic {pair}")


async def _accepted(authenticator: TokenAuthentication | PasswordAuthentication, authorization: str) -> User | None:
    address = str(IPv4Address("10.0.0.0") + next(_callers))  # each its own: nobody has failed too often
    request = Request(APIRequestFactory().get("/", HTTP_AUTHORIZATION=authorization, REMOTE_ADDR=address))
    try:
        answer = await authenticator.aauthenticate(request)
    except AuthenticationFailed:
        return None
    assert answer is not None
    return answer[0]


def django_parameters(url: str) -> dict[str, Any]:
    """Django's settings for the PostgreSQL at this URL."""
    from psycopg.conninfo import conninfo_to_dict

    names = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}
    known = {name: str(value) for name, value in conninfo_to_dict(url).items() if value is not None}
    options = {name: value for name, value in known.items() if name not in names}
    return {**{django: known.get(name, "") for name, django in names.items()}, "OPTIONS": options}


class OnlyTo:
    """A router that knows one database."""

    def __init__(self, alias: str) -> None:
        self._alias = alias

    def db_for_read(self, model: object, **hints: object) -> str:
        return self._alias

    db_for_write = db_for_read

    def allow_relation(self, *objects: object, **hints: object) -> bool:
        return True


@contextmanager
def routed_to(parameters: dict[str, Any]) -> Iterator[str]:
    """All that the ORM does, in whatever thread or transaction, goes to this PostgreSQL; yields its alias."""
    alias = f"postgresql-{uuid4().hex[:8]}"
    connections.settings[alias] = {
        **django_settings.DATABASES["default"],
        "ENGINE": "django.db.backends.postgresql",
        "CONN_MAX_AGE": 0,  # no thread keeps a connection beyond its job, and so beyond the test
        "OPTIONS": {},
        **parameters,
    }
    try:
        call_command("migrate", database=alias, verbosity=0, interactive=False)
        # Services begin their transactions without a word about the database: on the default one.
        begun_there = patch("django.db.transaction.DEFAULT_DB_ALIAS", alias)
        with override_settings(DATABASE_ROUTERS=[OnlyTo(alias)]), begun_there:
            yield alias
    finally:
        connections[alias].close()
        del connections[alias], connections.settings[alias]
