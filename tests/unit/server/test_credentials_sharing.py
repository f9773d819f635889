"""Reads that are shared by all who ask at the same time."""

import asyncio

import pytest

from hansa.server.accounts.credentials.sharing import Shared


class Row:
    """What is read: counts, and waits to be let go."""

    def __init__(self):
        self.reads = 0
        self.going = asyncio.Event()
        self.error = None

    async def read(self):
        self.reads += 1
        await self.going.wait()
        if self.error:
            raise self.error
        return "ada"


@pytest.fixture
async def row():
    return Row()


async def asking(shared, row, times, key="token"):
    tasks = [asyncio.ensure_future(shared.read(key, row.read)) for _ in range(times)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


async def test_many_who_ask_at_once_share_one_read(row):
    shared = Shared()
    tasks = await asking(shared, row, 100)
    row.going.set()

    assert await asyncio.gather(*tasks) == ["ada"] * 100
    assert row.reads == 1


async def test_who_asks_after_a_change_has_a_read_of_its_own(row):
    shared = Shared()
    before = await asking(shared, row, 2, key=("token", 1))
    after = await asking(shared, row, 2, key=("token", 2))
    row.going.set()
    await asyncio.gather(*before, *after)

    assert row.reads == 2


async def test_who_asks_later_reads_again(row):
    shared = Shared()
    row.going.set()
    for _ in range(3):
        await shared.read("token", row.read)

    assert row.reads == 3


async def test_the_first_asker_may_leave_and_the_others_are_answered(row):
    shared = Shared()
    first, second = await asking(shared, row, 2)
    first.cancel()
    row.going.set()

    assert await second == "ada"
    assert first.cancelled()
    assert row.reads == 1


async def test_an_error_is_everybodys(row):
    shared = Shared()
    row.error = OSError("gone")
    tasks = await asking(shared, row, 2)
    row.going.set()

    assert [str(each) for each in await asyncio.gather(*tasks, return_exceptions=True)] == ["gone", "gone"]


async def test_closing_ends_what_is_under_way(row):
    shared = Shared()
    (task,) = await asking(shared, row, 1)
    await shared.close()

    with pytest.raises(asyncio.CancelledError):
        await task
