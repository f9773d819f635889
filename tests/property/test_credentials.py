"""No credential is accepted by a request that began after the call which revoked it had returned.

Requests go through the real authenticators and overlap with each other and with writers of every kind: services, the
ORM one by one and in bulk, raw SQL, transactions that are rolled back, and connections that Django does not know of.
"""

import asyncio
import math
import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch
from uuid import UUID

import pytest
from django.contrib.auth.hashers import make_password
from django.db import connection, connections, router, transaction
from django.test import override_settings
from hypothesis import Phase, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from hansa.server.accounts import services
from hansa.server.accounts.credentials import directory as directories
from hansa.server.accounts.credentials.changes import CHANGES, note_writes
from hansa.server.accounts.credentials.identities import Identity, Lookup
from hansa.server.accounts.credentials.postgresql import PostgresqlSource
from hansa.server.accounts.credentials.sources import Source
from hansa.server.accounts.credentials.sqlite import SqliteSource
from hansa.server.accounts.models import Token, User
from hansa.server.accounts.secrets import digest
from hansa.server.lifecycle.bridge import call
from support.credentials import django_parameters, routed_to, user_of_password, user_of_token
from support.home import START

PASSWORDS = ("correct horse", "battery staple")
MOST_AT_ONCE = 12  # password checks beyond a short queue are refused as busy
MOST_ACCOUNTS = 2
LATEST = 4
AT_ITS_END = 3


@dataclass
class Account:
    """What must be true of a user, by what the writers have done."""

    id: UUID
    name: str
    password: str | None
    active: bool = True
    actor: bool = False
    exists: bool = True


@dataclass
class TokenOf:
    """A token that was made, and what must be true of it."""

    account: Account
    text: str
    expires_at: datetime | None = None
    exists: bool = True

    def is_good(self, now: datetime) -> bool:
        alive = self.exists and (self.expires_at is None or now < self.expires_at)
        return alive and self.account.exists and self.account.active

    def present(self) -> Any:
        return user_of_token(self.text)


@dataclass
class PasswordOf:
    """A text that somebody presents as an account's password."""

    account: Account
    text: str

    def is_good(self, now: datetime) -> bool:
        return self.account.exists and self.account.active and self.account.password == self.text

    def present(self) -> Any:
        return user_of_password(self.account.name, self.text)


@dataclass
class Visit:
    """A request under way, and all that its answer may be: what held when it began, and since."""

    credential: TokenOf | PasswordOf
    task: "asyncio.Task[User | None]"
    may_be: set[tuple[bool, bool]] = field(default_factory=set)

    def look(self, now: datetime) -> None:
        good = self.credential.is_good(now)
        self.may_be.add((good, good and self.credential.account.actor))


class Stepwise:
    """A source that awaits before and after it reads, until the test lets it go on: every race can be drawn."""

    max_age = math.inf

    def __init__(self, inner: Source) -> None:
        self._inner = inner
        self.is_free = False
        self.waiting: list[asyncio.Future[None]] = []

    def version(self) -> int:
        return CHANGES.number

    async def find(self, lookup: Lookup, key: str) -> Identity | None:
        await self._turn()
        found = await self._inner.find(lookup, key)
        await self._turn()
        return found

    async def close(self) -> None:
        await self._inner.close()

    def free(self, is_free: bool) -> None:
        """Let all go on as they like, or make them wait again."""
        self.is_free = is_free
        for turn in self.waiting:
            turn.set_result(None)
        self.waiting.clear()

    async def _turn(self) -> None:
        if self.is_free:
            return
        turn = asyncio.get_running_loop().create_future()
        self.waiting.append(turn)
        await turn


class Clock:
    now = START

    def __call__(self) -> datetime:
        return self.now


class Credentials(RuleBasedStateMachine):
    """Users, their credentials, and requests that present them."""

    source: Callable[[], Source]
    """What the directory asks."""
    foreign: Callable[[str, str], None] | None = None
    """Runs SQL by a connection that Django does not know of; None where two seconds may pass until that is seen."""
    watched: Callable[[], AbstractContextManager[Any]] = nullcontext
    """Around each write."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = count()
        self.accounts: list[Account] = []
        self.credentials: list[TokenOf | PasswordOf] = []
        self.visits: list[Visit] = []
        self.clock = Clock()
        self.patches = [
            patch("django.utils.timezone.now", self.clock),
            patch.object(directories, "_source", self._opened),
        ]
        for each in self.patches:
            each.start()
        self.runner = asyncio.Runner()
        self.present_source: Source | None = None
        self.join(PASSWORDS[0])

    def _opened(self) -> Source:
        self.present_source = type(self).source()
        return self.present_source

    def teardown(self) -> None:
        try:
            self.all_are_answered()
        finally:
            self.runner.run(call(User.objects.all().delete))
            self.runner.close()
            for each in self.patches:
                each.stop()

    # Requests

    @precondition(lambda self: len(self.visits) < MOST_AT_ONCE)
    @rule(data=st.data())
    def a_request_begins(self, data: st.DataObject) -> None:
        """With any credential there has ever been."""
        self._begin(data, data.draw(st.sampled_from(self.credentials)))

    def _begin(self, data: st.DataObject, credential: TokenOf | PasswordOf) -> None:
        """It goes some way, or to its end."""

        async def begin() -> Visit:
            return Visit(credential, asyncio.create_task(credential.present()))

        visit = self.runner.run(begin())
        visit.look(self.clock.now)
        self.visits.append(visit)
        self.runner.run(asyncio.sleep(0))
        steps = data.draw(st.integers(0, AT_ITS_END))
        for _ in range(steps):
            self._go_on(-1)
        if steps == AT_ITS_END:
            self.all_are_answered()

    @precondition(lambda self: self.visits)
    @rule(data=st.data())
    def a_lookup_goes_on(self, data: st.DataObject) -> None:
        """By one step; by a source that does not wait, it is answered."""
        self._go_on(data.draw(st.integers(0, MOST_AT_ONCE)))

    def _go_on(self, which: int) -> None:
        if isinstance(self.present_source, Stepwise) and (waiting := self.present_source.waiting):
            waiting.pop(min(which, len(waiting) - 1)).set_result(None)
        self.runner.run(asyncio.sleep(0))

    @rule()
    def all_are_answered(self) -> None:
        """And each as it may be."""
        self.runner.run(self._finish())
        visits, self.visits = self.visits, []
        for visit in visits:
            user = visit.task.result()
            answer = (user is not None, user is not None and user.actor)
            assert answer in visit.may_be, f"{visit.credential}: {answer}, but only {visit.may_be} has been so"
            event(f"accepted: {answer[0]}, changed meanwhile: {len(visit.may_be) > 1}")
            if user is not None:
                assert user.pk == visit.credential.account.id
                user.actor = not user.actor  # nobody else's affair

    async def _finish(self) -> None:
        self._free(True)
        async with asyncio.timeout(30):
            await asyncio.gather(*(visit.task for visit in self.visits))
        self._free(False)

    def _free(self, is_free: bool) -> None:
        if isinstance(self.present_source, Stepwise):
            self.present_source.free(is_free)

    # Changes

    def _write(self, *jobs: Callable[[], object]) -> None:
        """Run a writer to its end; requests under way may see what was before or what is after."""

        def write() -> list[object]:
            with self.watched():
                return [job() for job in jobs]

        self.written = self.runner.run(call(write))

    def _look(self) -> None:
        for visit in self.visits:
            visit.look(self.clock.now)

    def _change(self, data: st.DataObject, account: Account, job: Callable[[], object], **now: Any) -> None:
        """Amid requests of the one whom it concerns: one that it overtakes, and the same once more when it is done.

        `now`: what is true of the account from then on.
        """
        own = [each for each in self.credentials if each.account is account]
        credential = data.draw(st.sampled_from(own[-LATEST:]))
        if data.draw(st.booleans()) and len(self.visits) < MOST_AT_ONCE:
            self._begin(data, credential)
        self._write(job)
        for name, value in now.items():
            setattr(account, name, value)
        self._look()
        if data.draw(st.booleans()):
            self.all_are_answered()
            self._begin(data, credential)

    @precondition(lambda self: sum(account.exists for account in self.accounts) < MOST_ACCOUNTS)
    @rule(password=st.sampled_from([*PASSWORDS, None]))
    def join(self, password: str | None) -> None:
        """Somebody gets an account and a token."""
        name = f"user-{next(self.numbers)}"
        self._write(partial(User.objects.create_user, name, password=password, client=True))
        (user,) = self.written
        assert isinstance(user, User)
        account = Account(user.pk, name, password)
        self.accounts.append(account)
        self.credentials.extend(PasswordOf(account, text) for text in PASSWORDS)
        self._make_token(account, None)

    def _some(self, data: st.DataObject) -> Account:
        return data.draw(st.sampled_from([account for account in self.accounts if account.exists]))

    def _any_left(self) -> bool:
        return any(account.exists for account in self.accounts)

    @precondition(_any_left)
    @rule(data=st.data(), seconds=st.sampled_from([None, 10.0, 100.0]))
    def a_token_is_made(self, data: st.DataObject, seconds: float | None) -> None:
        """For one of the accounts."""
        self._make_token(self._some(data), seconds)

    def _make_token(self, account: Account, seconds: float | None) -> None:
        make = partial(services.create_token, user_id=account.id, name="", expires_in_seconds=seconds)
        self._write(partial(make, now=self.clock.now))
        self.credentials.append(TokenOf(account, self.written[0].text, self.written[0].token.expires_at))

    @rule(seconds=st.sampled_from([1.0, 9.0, 50.0]))
    def time_passes(self, seconds: float) -> None:
        """Tokens may expire."""
        self.clock.now += timedelta(seconds=seconds)
        self._look()

    @precondition(lambda self: any(isinstance(each, TokenOf) and each.is_good(START) for each in self.credentials))
    @rule(data=st.data())
    def a_token_is_revoked(self, data: st.DataObject) -> None:
        """In any of these ways."""
        good = [each for each in self.credentials if isinstance(each, TokenOf) and each.is_good(START)]
        token = data.draw(st.sampled_from(good))
        rows = Token.objects.filter(digest=digest(token.text))
        ways: dict[str, Callable[[], object]] = {
            "one by one": lambda: rows.get().delete(),
            "in bulk": rows.delete,
            "by its end": lambda: rows.update(expires_at=START),
            "by the service": lambda: services.revoke_token(user_id=token.account.id, token_id=rows.get().id),
            **self._raw_ways("DELETE FROM accounts_token WHERE digest = {}", digest(token.text)),
        }
        job = ways[data.draw(st.sampled_from(sorted(ways)))]
        self._change(data, token.account, lambda: (job(), setattr(token, "exists", False)))

    @precondition(_any_left)
    @rule(data=st.data())
    def a_client_is_enrolled_again(self, data: st.DataObject) -> None:
        """Its older tokens end."""
        account = self._some(data)
        if not account.active:
            return

        def enroll() -> str:
            actor = User(username="an actor", is_superuser=True)
            actor.save()
            lent = services.invite(actor=actor, username=account.name, expires_in_seconds=60, now=self.clock.now)
            enrolled = services.enroll(code=lent.code, now=self.clock.now)
            actor.delete()
            return enrolled.token

        if account.actor:  # who may do more is not invited again
            self._write(lambda: User.objects.filter(id=account.id).update(actor=False))
            account.actor = False
            self._look()

        def write() -> None:
            made.append(TokenOf(account, enroll()))
            for each in self.credentials:
                if isinstance(each, TokenOf) and each.account is account:
                    each.exists = False

        made: list[TokenOf] = []
        self._change(data, account, write)
        self.credentials.extend(made)

    @precondition(_any_left)
    @rule(data=st.data())
    def an_account_is_closed_or_opened(self, data: st.DataObject) -> None:
        """Nobody's credentials are good meanwhile."""
        account = self._some(data)
        job = self._setting(data, account, "is_active", not account.active)
        self._change(data, account, job, active=not account.active)

    @precondition(_any_left)
    @rule(data=st.data())
    def a_role_is_given_or_taken(self, data: st.DataObject) -> None:
        """Views see the present one."""
        account = self._some(data)
        job = self._setting(data, account, "actor", not account.actor)
        self._change(data, account, job, actor=not account.actor)

    @precondition(_any_left)
    @rule(data=st.data(), password=st.sampled_from([None, *PASSWORDS]))
    def a_password_is_changed(self, data: st.DataObject, password: str | None) -> None:
        """To another or the same."""
        account = self._some(data)
        job = self._setting(data, account, "password", make_password(password))
        self._change(data, account, job, password=password)

    @precondition(_any_left)
    @rule(data=st.data())
    def an_account_is_deleted(self, data: st.DataObject) -> None:
        """With all its tokens."""
        account = self._some(data)
        rows = User.objects.filter(id=account.id)
        ways = {"one by one": lambda: rows.get().delete(), "in bulk": rows.delete}
        self._change(data, account, ways[data.draw(st.sampled_from(sorted(ways)))], exists=False)

    @precondition(_any_left)
    @rule(data=st.data())
    def a_change_is_taken_back(self, data: st.DataObject) -> None:
        """Before it was committed: nothing has happened."""
        account = self._some(data)

        def write() -> None:
            using = router.db_for_write(User)
            with transaction.atomic(using=using):
                User.objects.filter(id=account.id).update(is_active=not account.active, password="")
                Token.objects.filter(user_id=account.id).delete()
                transaction.set_rollback(True, using=using)

        self._change(data, account, write)

    def _setting(self, data: st.DataObject, account: Account, name: str, value: "bool | str") -> Callable[[], object]:
        """Changes one column of a user's row, in a way that is drawn."""
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
        ways: dict[str, Callable[[], object]] = {
            "one by one": save,
            "by bulk_update": bulk_update,
            "in bulk": lambda: rows.update(**{name: value}),
            **self._raw_ways(sql, account.name),
        }
        return ways[data.draw(st.sampled_from(sorted(ways)))]

    def _raw_ways(self, sql: str, parameter: str) -> dict[str, Callable[[], object]]:
        def raw() -> None:
            with connections[router.db_for_write(User)].cursor() as cursor:
                cursor.execute(sql.format("%s"), [parameter])

        ways: dict[str, Callable[[], object]] = {"by raw SQL": raw}
        if (foreign := type(self).foreign) is not None:
            ways["by somebody else"] = lambda: foreign(sql, parameter)
        return ways


def _literal(value: "bool | str") -> str:
    if isinstance(value, bool):
        return str(value).upper()
    return "'" + value.replace("'", "''") + "'"


# A failure is shown as it was found: to shrink it by a real database takes longer than a test may.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)


def run(machine: type[Credentials], examples: int) -> None:
    with override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"]):
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=examples, stateful_step_count=30, deadline=None, print_blob=True, phases=PHASES
            ),
        )


def by_sqlite3(file: Path) -> Callable[[str, str], None]:
    """A connection that Django does not know of."""

    def write(sql: str, parameter: str) -> None:
        with closing(sqlite3.connect(file)) as other, other:
            other.execute(sql.format("?"), [parameter])

    return write


@pytest.fixture
def file(transactional_db: None) -> Path:
    return Path(connection.settings_dict["NAME"])


def test_on_sqlite(file: Path) -> None:
    class OnSqlite(Credentials):
        source = staticmethod(partial(SqliteSource, file, connection))
        foreign = staticmethod(by_sqlite3(file))

    run(OnSqlite, 25)


def test_where_only_this_process_s_changes_are_noted_and_every_lookup_may_be_overtaken(file: Path) -> None:
    class Overtaken(Credentials):
        source = staticmethod(lambda: Stepwise(SqliteSource(file, connection)))
        watched = staticmethod(lambda: connection.execute_wrapper(note_writes))

    run(Overtaken, 50)


def test_on_postgresql(postgres_url: str, django_db_setup: None, django_db_blocker: Any) -> None:
    with django_db_blocker.unblock(), routed_to(django_parameters(postgres_url)) as alias:

        class OnPostgresql(Credentials):
            source = staticmethod(lambda: PostgresqlSource(connections[alias]))

        run(OnPostgresql, 10)
