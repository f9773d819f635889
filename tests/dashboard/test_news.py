"""What the overview follows: that something happened in a training that one may see, and nothing of what."""

import asyncio

import pytest

from hansa.server.dashboard import news
from hansa.server.lifecycle.bridge import call
from hansa.server.trainings.hints import ANY, HINTS
from hansa.server.trainings.services import trainings
from support.followed import Reader
from support.work import start


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(news, "SETTLE_SECONDS", 0.0)


@pytest.fixture
async def follow(handler, browser):
    readers = []

    async def open_one(person, after=""):
        cookie = (await browser(person)).cookies["sessionid"]
        headers = {"cookie": f"sessionid={cookie}"}
        readers.append(Reader(handler, person, f"/news/?after={after}", headers=headers))
        return readers[-1]

    yield open_one
    for reader in readers:
        reader.disconnect()
        await reader.finished()


async def until_it_waits(readers=1):
    """All who follow have looked, and sleep."""
    async with asyncio.timeout(10):
        while sum(flag._waiting is not None for flag in HINTS._waiting.get(ANY, ())) < readers:  # noqa: ASYNC110  # nobody is told
            await asyncio.sleep(0.001)


async def test_who_follows_is_told_when_something_happens_and_not_what(alice, bob, mallory, training, follow):
    theirs, others = await follow(alice, after="0"), await follow(mallory, after="0")
    assert await theirs.until(1) == ["moved"]
    await until_it_waits(2)

    await call(start, training)
    await theirs.until(2)
    await until_it_waits(2)
    told = len(theirs.events)
    await call(trainings.pause, training_id=training.id)
    await theirs.until(told + 1)
    assert all(data == {"kind": "moved"} for _, data in theirs.events)
    assert len({number for number, _ in theirs.events}) == len(theirs.events)
    assert others.events == [], "nothing is told of a training that one may not see"


async def test_who_has_seen_the_newest_is_told_of_what_comes_behind_it(browser, alice, training, follow):
    page = (await (await browser(alice)).get("/")).text
    seen = page.partition('data-after="')[2].partition('"')[0]
    reader = await follow(alice, after=seen)
    await until_it_waits()
    assert reader.events == []

    await call(start, training)
    assert (await reader.until(1))[0] == "moved"


async def test_nobody_follows_without_signing_in(nobody):
    assert (await nobody.get("/news/")).status_code == 302
