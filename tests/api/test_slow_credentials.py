"""Passwords are slow to check on purpose: whoever sends many keeps nobody waiting but other senders of passwords."""

import asyncio
import base64
import threading

import pytest

from hansa.server.accounts import attempts
from hansa.server.lifecycle import bridge
from support.answers import refused

URL = "/api/users/myself/"
MANY = 40


def basic(name, password):
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


class Hashing:
    """Where all passwords are checked: whoever comes stays until the test lets them go."""

    def __init__(self):
        self.threads = []
        self._begun = threading.Semaphore(0)
        self._go = threading.Event()

    def __call__(self, request=None, **credentials):
        self.threads.append(threading.current_thread().name)
        self._begun.release()
        assert self._go.wait(30), "nobody let the hash go on"

    async def begun(self):
        """Wait until a check is in progress."""
        assert await asyncio.to_thread(self._begun.acquire, timeout=10), "no password is being checked"

    def let_go(self):
        self._go.set()


@pytest.fixture
def hashing(monkeypatch):
    """No password is right, and none is found wrong before the test says so."""
    hashing = Hashing()
    monkeypatch.setattr("hansa.server.accounts.authentication.authenticate", hashing)
    yield hashing
    hashing.let_go()


@pytest.fixture
async def guessing(nobody, hashing):
    """Somebody tries many passwords at once; the first is being checked."""
    tries = [asyncio.create_task(nobody.get(URL, headers=basic("alice", f"guess {i}"))) for i in range(MANY)]
    await hashing.begun()
    yield tries
    hashing.let_go()
    await asyncio.wait(tries, timeout=10)


async def refused_at_once(tries):
    """Those that were not let into the queue."""
    async with asyncio.timeout(10):
        while sum(each.done() for each in tries) < MANY - bridge.SLOW_QUEUE:
            await asyncio.wait([each for each in tries if not each.done()], return_when=asyncio.FIRST_COMPLETED)
    return [each.result() for each in tries if each.done()]


async def test_while_passwords_are_checked_every_token_is_answered(alice, guessing, hashing):
    async with asyncio.timeout(10):
        answers = await asyncio.gather(*(alice.get(URL) for _ in range(MANY)))

    assert {answer.status_code for answer in answers} == {200}
    assert len(hashing.threads) == 1, "and the first password is still being checked"
    assert sum(not each.done() for each in guessing) >= bridge.SLOW_QUEUE


async def test_a_token_in_basic_is_no_password(alice, nobody, guessing):
    async with asyncio.timeout(10):
        assert (await nobody.get(URL, headers=basic(alice.token, ""))).json()["username"] == "alice"
        refused(await nobody.get(URL, headers=basic("0" * 40, "")), 401, "authentication_failed", "Invalid token")


async def test_callers_without_usable_credentials_do_not_wait_either(nobody, guessing):
    async with asyncio.timeout(10):
        refused(await nobody.get(URL), 401, "not_authenticated")
        refused(await nobody.get(URL, headers={"Authorization": "Basic ?"}), 401, "authentication_failed", "not base64")
        assert (await nobody.get("/api/health/")).status_code == 200


async def test_beyond_a_short_queue_passwords_are_refused_with_when_to_come_again(guessing, hashing):
    told = await refused_at_once(guessing)
    assert len(told) == MANY - bridge.SLOW_QUEUE
    for answer in told:
        refused(answer, 429, "throttled", "Too many passwords", "Use a token")
        assert int(answer.headers["Retry-After"]) > 0

    hashing.let_go()
    async with asyncio.timeout(10):
        answers = await asyncio.gather(*guessing)
    assert sorted(answer.status_code for answer in answers) == [401] * bridge.SLOW_QUEUE + [429] * len(told)
    assert len(hashing.threads) == bridge.SLOW_QUEUE
    assert set(hashing.threads) == {"hansa-slow_0"}


async def test_once_the_queue_is_empty_passwords_are_checked_again(nobody, guessing, hashing):
    hashing.let_go()
    await asyncio.wait(guessing, timeout=10)
    attempts.forget()  # so many failures have a limit of their own: test_throttles.py

    refused(await nobody.get(URL, headers=basic("alice", "wrong")), 401, "authentication_failed", "password")


@pytest.mark.parametrize("headers", [basic("0" * 40, "secret"), basic("0" * 39, ""), basic("alice", ""), basic("", "")])
async def test_whatever_is_checked_as_a_password_waits_with_the_passwords(nobody, hashing, headers):
    hashing.let_go()

    refused(await nobody.get(URL, headers=headers), 401, "authentication_failed")

    assert hashing.threads == ["hansa-slow_0"]
