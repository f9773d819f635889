"""What browsers have left of their sessions goes when it can be used no more."""

import asyncio
from datetime import timedelta

from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.utils import timezone

from hansa.server.accounts.sessions import clear_expired
from hansa.server.lifecycle.bridge import call, read
from hansa.server.trainings import housekeeping


def session(**expires):
    store = SessionStore()
    store["who"] = "alice"
    store.set_expiry(timezone.now() + timedelta(**expires))
    store.save()
    return store.session_key


def test_sessions_are_kept_until_they_have_expired(db):
    kept, gone = session(minutes=5), session(minutes=-5)

    assert clear_expired(now=timezone.now()) == 1

    assert [row.session_key for row in Session.objects.all()] == [kept]
    assert gone != kept


async def test_the_servers_housekeeping_does_it(home, transactional_db):
    await call(session, minutes=-5)
    keeping = asyncio.create_task(housekeeping.keep_house())
    try:
        async with asyncio.timeout(20):
            while await read(Session.objects.count):  # noqa: ASYNC110  # housekeeping tells nobody
                await asyncio.sleep(0.01)
    finally:
        keeping.cancel()
