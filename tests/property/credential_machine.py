"""Users, their credentials, and requests that present them, in any order that hypothesis can think of."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timedelta
from functools import partial
from itertools import count
from typing import Any
from unittest.mock import patch

from django.contrib.auth.hashers import make_password
from hypothesis import event
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from presented import Account, PasswordOf, TokenOf, Visit
from stepwise import Stepwise
from writers import (
    Foreign,
    Ways,
    change_and_take_back,
    enroll_again,
    ways_to_delete,
    ways_to_revoke,
    ways_to_set,
)

from hansa.server.accounts import services
from hansa.server.accounts.credentials import directory as directories
from hansa.server.accounts.credentials.sources import Source
from hansa.server.accounts.models import User
from hansa.server.lifecycle.bridge import call
from support.home import START

PASSWORDS = ("correct horse", "battery staple")
MOST_AT_ONCE = 12  # password checks beyond a short queue are refused as busy
MOST_ACCOUNTS = 2
LATEST = 4
AT_ITS_END = 3


class Clock:
    now = START

    def __call__(self) -> datetime:
        return self.now


class Credentials(RuleBasedStateMachine):
    """Users, their credentials, and requests that present them."""

    source: Callable[[], Source]
    """What the directory asks."""
    foreign: Foreign | None = None
    """None where two seconds may pass until its changes are seen."""
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
        job = self._one(data, ways_to_revoke(token, type(self).foreign))
        self._change(data, token.account, lambda: (job(), setattr(token, "exists", False)))

    @precondition(_any_left)
    @rule(data=st.data())
    def a_client_is_enrolled_again(self, data: st.DataObject) -> None:
        """Its older tokens end."""
        account = self._some(data)
        if not account.active:
            return

        if account.actor:  # who may do more is not invited again
            self._write(lambda: User.objects.filter(id=account.id).update(actor=False))
            account.actor = False
            self._look()

        def write() -> None:
            made.append(TokenOf(account, enroll_again(account, self.clock.now)))
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
        self._change(data, account, self._one(data, ways_to_delete(account)), exists=False)

    @precondition(_any_left)
    @rule(data=st.data())
    def a_change_is_taken_back(self, data: st.DataObject) -> None:
        """Before it was committed: nothing has happened."""
        account = self._some(data)
        self._change(data, account, partial(change_and_take_back, account))

    def _setting(self, data: st.DataObject, account: Account, name: str, value: "bool | str") -> Callable[[], object]:
        """Changes one column of a user's row, in a way that is drawn."""
        return self._one(data, ways_to_set(account, name, value, type(self).foreign))

    def _one(self, data: st.DataObject, ways: Ways) -> Callable[[], object]:
        return ways[data.draw(st.sampled_from(sorted(ways)))]
