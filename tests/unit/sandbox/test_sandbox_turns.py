"""Whose turn it is, as it is given."""

import asyncio
from collections.abc import Callable

import pytest

from hansa.sandbox.turns import FullError, OverdueError, Turns


class Calls:
    """Calls that last until they are told to end, in the order in which they were begun."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.begun: list[str] = []
        self._ends: list[asyncio.Event] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def come(self, *callers: str) -> None:
        self._tasks += [asyncio.create_task(self._call(who)) for who in callers]
        await settled()

    async def end_first(self) -> None:
        self._ends.pop(0).set()
        await settled()

    async def end_all(self) -> None:
        while self._ends:
            await self.end_first()
        await asyncio.gather(*self._tasks)

    async def _call(self, who: str) -> None:
        async with self.turns.taken(who):
            self.begun.append(who)
            end = asyncio.Event()
            self._ends.append(end)
            await end.wait()


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_of_those_who_wait_each_users_first_comes_before_anybodys_second() -> None:
    calls = Calls(Turns(1, waiting=99, patience=60))
    await calls.come("a", "b", "a", "a", "a", "b", "b", "c")
    assert calls.begun == ["a", "b"], "two users, each with one call under way"
    await calls.end_all()
    assert calls.begun[2:5] in (["a", "b", "c"], ["b", "a", "c"], ["c", "a", "b"], ["b", "c", "a"], ["a", "c", "b"])


async def test_who_has_no_call_under_way_does_not_wait_for_fifty_slow_ones_of_another() -> None:
    calls = Calls(Turns(2, waiting=99, patience=60))
    await calls.come(*["greedy"] * 50)
    assert calls.begun == ["greedy", "greedy"]
    await calls.come("modest")
    assert calls.begun[-1] == "modest"
    await calls.end_all()


async def test_no_more_than_twice_the_size_run_however_many_users_ask() -> None:
    calls = Calls(Turns(2, waiting=99, patience=60))
    await calls.come(*map(str, range(20)))
    assert len(calls.begun) == 4
    await calls.end_all()
    assert len(calls.begun) == 20


async def test_a_turn_that_does_not_come_in_time_is_an_outcome_of_its_own() -> None:
    turns = Turns(1, waiting=99, patience=0.01)
    async with turns.taken("a"):
        with pytest.raises(OverdueError, match=r"0\.01 s"):
            async with turns.taken("a"):
                pass
    assert turns.waiting == 0
    async with turns.taken("a"):
        pass


async def test_a_full_queue_turns_the_greedy_away_and_not_who_comes_next() -> None:
    turns = Turns(1, waiting=4, patience=60)

    async def call(who: str, until: Callable[[], bool]) -> str:
        async with turns.taken(who):
            while not until():  # noqa: ASYNC110 - the test's own clock
                await asyncio.sleep(0)
        return who

    done = False
    calls = [asyncio.create_task(call("greedy", lambda: done)) for _ in range(5)]
    others = [asyncio.create_task(call(who, lambda: done)) for who in ("first", "second")]
    await settled()
    with pytest.raises(FullError):
        async with turns.taken("greedy"):
            pass
    done = True
    told = await asyncio.gather(*calls, *others, return_exceptions=True)
    assert [each for each in told if isinstance(each, str)] == ["greedy"] * 4 + ["first", "second"]
    assert [type(each) for each in told if not isinstance(each, str)] == [FullError]


async def test_callers_who_go_away_leave_no_turn_taken() -> None:
    turns = Turns(1, waiting=99, patience=60)
    for steps in range(6):
        async with turns.taken("a"):
            leavers = [asyncio.create_task(turns.taken("a").__aenter__()) for _ in range(3)]
            for _ in range(steps):
                await asyncio.sleep(0)
            for each in leavers:
                each.cancel()
        # the turn comes free as they are going
        await asyncio.gather(*leavers, return_exceptions=True)
        assert turns.waiting == 0
        async with asyncio.timeout(5), turns.taken("a"):
            pass
