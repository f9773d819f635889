"""A prepared statement is the query that it was made of: the same rows, the same changes, compiled once."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.hashers import make_password
from django.db import connection, transaction
from django.db.models import BooleanField, CharField, DateTimeField, Q, UUIDField
from django.db.utils import IntegrityError
from django.test.utils import CaptureQueriesContext

from hansa.server.accounts.models import Token, User
from hansa.server.prepared import Added, Changed, Rows, Slot

NOW = datetime(2026, 1, 2, 3, 4, 5, 678, UTC)

pytestmark = pytest.mark.django_db

NAMED = Rows(lambda: User.objects.filter(username=Slot("name", CharField())).order_by("id"))
TOKENS = Rows(
    lambda: Token.objects.filter(user_id=Slot("user", UUIDField())).select_related("user").defer("user__password")
)
VALUES = Rows(
    lambda: (
        Token.objects.filter(Q(created_at__gte=Slot("since", DateTimeField())) | Q(name="kept"), user__is_active=True)
        .order_by("created_at")
        .values_list("id", "user_id", "user__username", "created_at", "user__client")
    )
)
RENAME = Changed(
    lambda: Token.objects.filter(user__username=Slot("user", CharField())),
    name=Slot("name", CharField()),
    expires_at=Slot("until", DateTimeField()),
)
ADD = Added(
    lambda: User(
        id=Slot("id", UUIDField()),
        username=Slot("name", CharField()),
        client=Slot("client", BooleanField()),
        password=make_password(None),
    )
)


@pytest.fixture
def token():
    user = User.objects.create(username="ada", client=True, last_seen=NOW)
    return Token.objects.create(user=user, name="first", digest="0" * 64, created_at=NOW)


def test_instances_are_those_of_the_queryset_with_what_they_are_related_to(token):
    with CaptureQueriesContext(
        connection,
    ) as asked:
        (found,) = TOKENS(user=token.user_id)
        assert (found, found.created_at, found.user.username, found.user.last_seen) == (token, NOW, "ada", NOW)
    assert len(asked) == 1
    assert found.user.get_deferred_fields() == {"password"}
    assert isinstance(found.user_id, UUID)


def test_values_have_the_types_of_their_fields(token):
    assert VALUES(since=NOW) == [(token.id, token.user_id, "ada", NOW, True)]
    assert VALUES(since=NOW + timedelta(microseconds=1)) == []


def test_another_value_finds_other_rows_without_compiling_again(token):
    User.objects.create(username="bob")
    assert NAMED.first(name="ada") == token.user
    statements = dict(vars(connection._connections[connection._alias])["hansa_prepared"])
    assert [user.username for user in NAMED(name="bob")] == ["bob"]
    assert NAMED.first(name="nobody") is None
    assert vars(connection._connections[connection._alias])["hansa_prepared"] == statements


def test_values_are_never_part_of_the_statement(token):
    assert NAMED(name="ada' OR '1'='1") == []
    assert NAMED(name="%s") == []


def test_a_change_is_made_to_the_rows_of_its_query_and_counts_them(token):
    assert RENAME(user="bob", name="second", until=NOW) == 0
    assert RENAME(user="ada", name="second", until=NOW) == 1
    token.refresh_from_db()
    assert (token.name, token.expires_at) == ("second", NOW)


def test_nothing_can_be_written_where_there_may_be_nothing(token):
    RENAME(user="ada", name="second", until=NOW)
    RENAME(user="ada", name="third", until=None)
    token.refresh_from_db()
    assert (token.name, token.expires_at) == ("third", None)


def test_a_row_is_added_with_the_defaults_of_its_model():
    ident = uuid4()
    ADD(id=ident, name="eve", client=True)
    added = User.objects.get(id=ident)
    assert (added.username, added.client, added.is_active, added.is_superuser) == ("eve", True, True, False)


def test_a_row_that_is_there_is_changed_instead_where_that_is_wanted(token):
    seen = Added(
        lambda: User(
            id=Slot("id", UUIDField()), username=Slot("name", CharField()), last_seen=Slot("now", DateTimeField())
        ),
        unique=("username",),
        replaced=("last_seen",),
    )
    seen(id=uuid4(), name="ada", now=NOW + timedelta(days=1))
    seen(id=uuid4(), name="bob", now=NOW)
    assert dict(User.objects.values_list("username", "last_seen")) == {"ada": NOW + timedelta(days=1), "bob": NOW}
    assert User.objects.get(username="ada") == token.user


def test_what_a_constraint_refuses_is_refused(token):
    with pytest.raises(IntegrityError), transaction.atomic():
        ADD(id=uuid4(), name="ada", client=False)


def test_it_is_rolled_back_with_its_transaction(token):
    with transaction.atomic():
        RENAME(user="ada", name="second", until=NOW)
        transaction.set_rollback(True)
    token.refresh_from_db()
    assert token.name == "first"


def test_a_value_that_cannot_be_the_fields_is_refused_before_it_is_sent():
    with pytest.raises(Exception, match="UUID"):
        TOKENS(user="no uuid")


def test_a_value_that_is_missing_is_named():
    with pytest.raises(KeyError, match="user"):
        TOKENS()


def test_dictionaries_are_not_prepared():
    with pytest.raises(TypeError, match="ValuesIterable"):
        Rows(lambda: User.objects.values("id"))()
