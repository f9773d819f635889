"""Where a database does not tell of commits, this process notes its own changes of users and tokens."""

import threading
from types import SimpleNamespace

import pytest
from django.contrib.auth.models import update_last_login
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from hansa.server.accounts import services
from hansa.server.accounts.credentials import changes
from hansa.server.accounts.credentials.changes import CHANGES, Changes, note_writes, watch
from hansa.server.accounts.models import Invitation, Token, User


@pytest.fixture
def ada(transactional_db):
    return User.objects.create_user("ada")


@pytest.fixture
def noted(ada):
    """How many changes were noted since last asked."""
    with connection.execute_wrapper(note_writes):
        seen = CHANGES.number

        def since():
            nonlocal seen
            before, seen = seen, CHANGES.number
            return seen - before

        yield since


def raw(sql, *parameters):
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)


WRITES = {
    "save": lambda ada: ada.save(),
    "update": lambda ada: User.objects.update(is_active=False),
    "bulk_update": lambda ada: User.objects.bulk_update([ada], ["password"]),
    "upsert": lambda ada: User.objects.bulk_create(
        [ada], update_conflicts=True, update_fields=["password"], unique_fields=["id"]
    ),
    "deletion": lambda ada: ada.delete(),
    "deletion of many": lambda ada: User.objects.all().delete(),
    "related manager": lambda ada: ada.tokens.all().delete(),
    "service": lambda ada: services.create_token(user_id=ada.id, name="", expires_in_seconds=None, now=timezone.now()),
    "raw SQL": lambda ada: raw("update ACCOUNTS_USER set password = %s", "x"),
    "raw SQL with a table expression": lambda ada: raw(
        "WITH few AS (SELECT 'x') DELETE FROM accounts_token WHERE name IN (SELECT * FROM few)"
    ),
    "sightings with something else": lambda ada: User.objects.update(last_seen=timezone.now(), is_active=False),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
def test_every_way_to_change_users_or_tokens_is_noted(ada, noted, write):
    write(ada)

    assert noted() > 0


READS = {
    "reading": lambda ada: list(Token.objects.select_related("user")),
    "writing something else": lambda ada: Invitation.objects.update(used_at=None),
    "sightings": lambda ada: User.objects.filter(id=ada.id).update(last_seen=timezone.now()),
    "signing in": lambda ada: update_last_login(User, ada),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS.keys())
def test_what_changes_nobody_s_rights_is_not_noted(ada, noted, read):
    read(ada)

    assert noted() == 0


def test_a_change_is_noted_on_commit_as_well(ada, noted):
    with transaction.atomic():
        User.objects.update(is_active=False)
        assert noted() > 0, "at once: the transaction's own process may see it"
        assert noted() == 0

    assert noted() > 0, "and once more: a lookup in between has read the old row"


def test_a_statement_that_fails_counts_as_a_change(ada, noted):
    """Part of it may have been done, and an old version too many costs one lookup."""
    with pytest.raises(DatabaseError):
        raw("UPDATE accounts_user SET no_such_column = 1")

    assert noted() > 0


def test_changes_noted_by_several_threads_at_once_are_all_noted():
    counted = Changes()
    threads = [threading.Thread(target=lambda: [counted.note() for _ in range(2000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert counted.number == 8000


@pytest.mark.parametrize(("vendor", "watched"), [("postgresql", 1), ("mysql", 1), ("sqlite", 0)])
def test_connections_to_databases_that_do_not_tell_are_watched_once(vendor, watched):
    opened = SimpleNamespace(vendor=vendor, execute_wrappers=[])
    for _ in range(2):  # a connection that breaks is opened again
        watch(opened)

    assert opened.execute_wrappers == [changes.note_writes] * watched
