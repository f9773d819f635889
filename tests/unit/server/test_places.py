"""Places for so many at once: others wait in the order of asking, and who is slow keeps nobody waiting for long."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from hansa.server.lifecycle.places import Places


async def turn(times=3):
    for _ in range(times):
        await asyncio.sleep(0)


class Guest:
    """Takes a place, and holds it until told otherwise."""

    def __init__(self, places):
        self.is_in = False
        self._leave = asyncio.Event()
        self.task = asyncio.create_task(self._stay(places))

    async def _stay(self, places):
        async with places.taken():
            self.is_in = True
            await self._leave.wait()
        self.is_in = False

    async def leave(self):
        self._leave.set()
        await self.task


async def guests(places, count):
    here = [Guest(places) for _ in range(count)]
    await turn()
    return here


async def test_no_more_are_in_at_once_than_there_are_places():
    here = await guests(Places(2, seconds=60), 4)

    assert [guest.is_in for guest in here] == [True, True, False, False]

    await here[1].leave()
    await turn()
    assert [guest.is_in for guest in here] == [True, False, True, False]
    for guest in here:
        await guest.leave()


async def test_a_place_is_given_on_when_its_holder_fails_or_is_cancelled():
    places = Places(1, seconds=60)
    with pytest.raises(KeyError):
        async with places.taken():
            raise KeyError
    holder, waiting, last = await guests(places, 3)
    waiting.task.cancel()
    holder.task.cancel()
    await turn()

    assert last.is_in
    await last.leave()


async def test_who_is_slow_keeps_nobody_waiting_and_gives_its_place_on_only_once():
    places = Places(1, seconds=0.001)
    slow, next_one = await guests(places, 2)
    async with asyncio.timeout(10):
        while not next_one.is_in:  # noqa: ASYNC110  # the clock's, not an event's
            await asyncio.sleep(0)
    assert slow.is_in

    await slow.leave()
    await next_one.leave()
    async with AsyncExitStack() as taken:
        await taken.enter_async_context(Places(1, seconds=60).taken())


def test_one_loop_after_the_other_may_use_them():
    places = Places(1, seconds=60)

    async def use():
        here = await guests(places, 2)
        for guest in here:
            await guest.leave()

    asyncio.run(use())
    asyncio.run(use())
