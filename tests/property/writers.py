"""Who changes accounts and tokens, and by what: services, the ORM, raw SQL, and what Django does not know of."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path

from django.db import connections, router, transaction
from presented import Account, TokenOf

from hansa.server.accounts import services
from hansa.server.accounts.models import Token, User
from hansa.server.accounts.secrets import digest
from support.home import START

Ways = dict[str, Callable[[], object]]
"""Of making the same change, by name."""

Foreign = Callable[[str, str], None]
"""Runs SQL with its parameter, by a connection that Django does not know of."""


def by_sqlite3(file: Path) -> Foreign:
    """A writer of this file."""

    def write(sql: str, parameter: str) -> None:
        with closing(sqlite3.connect(file)) as other, other:
            other.execute(sql.format("?"), [parameter])

    return write


def ways_to_set(account: Account, name: str, value: "bool | str", foreign: Foreign | None) -> Ways:
    """One column of a user's row."""
    rows = User.objects.filter(id=account.id)

    def save() -> None:
        user = rows.get()
        setattr(user, name, value)
        user.save()

    def bulk_update() -> None:
        user = rows.get()
        setattr(user, name, value)
        User.objects.bulk_update([user], [name])

    sql = f"UPDATE accounts_user SET {name} = {_literal(value)} WHERE username = {{}}"  # noqa: S608  # a test's own names
    return {
        "one by one": save,
        "by bulk_update": bulk_update,
        "in bulk": lambda: rows.update(**{name: value}),
        **_by_sql(sql, account.name, foreign),
    }


def ways_to_revoke(token: TokenOf, foreign: Foreign | None) -> Ways:
    """End a token before its time."""
    rows = Token.objects.filter(digest=digest(token.text))
    return {
        "one by one": lambda: rows.get().delete(),
        "in bulk": rows.delete,
        "by its end": lambda: rows.update(expires_at=START),
        "by the service": lambda: services.revoke_token(user_id=token.account.id, token_id=rows.get().id),
        **_by_sql("DELETE FROM accounts_token WHERE digest = {}", digest(token.text), foreign),
    }


def ways_to_delete(account: Account) -> Ways:
    """A user with all tokens."""
    rows = User.objects.filter(id=account.id)
    return {"one by one": lambda: rows.get().delete(), "in bulk": rows.delete}


def enroll_again(account: Account, now: datetime) -> str:
    """By a new invitation; the older tokens end. Returns the new one."""
    actor = User(username="an actor", is_superuser=True)
    actor.save()
    lent = services.invite(actor=actor, username=account.name, expires_in_seconds=60, now=now)
    enrolled = services.enroll(code=lent.code, now=now)
    actor.delete()
    return enrolled.token


def change_and_take_back(account: Account) -> None:
    """In a transaction that is rolled back: nothing has happened."""
    using = router.db_for_write(User)
    with transaction.atomic(using=using):
        User.objects.filter(id=account.id).update(is_active=not account.active, password="")
        Token.objects.filter(user_id=account.id).delete()
        transaction.set_rollback(True, using=using)


def _by_sql(sql: str, parameter: str, foreign: Foreign | None) -> Ways:
    def raw() -> None:
        with connections[router.db_for_write(User)].cursor() as cursor:
            cursor.execute(sql.format("%s"), [parameter])

    ways: Ways = {"by raw SQL": raw}
    if foreign is not None:
        ways["by somebody else"] = lambda: foreign(sql, parameter)
    return ways


def _literal(value: "bool | str") -> str:
    if isinstance(value, bool):
        return str(value).upper()
    return "'" + value.replace("'", "''") + "'"
