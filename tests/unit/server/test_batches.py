"""What many ask at once is answered together, to each its own; and nobody waits for company."""

import asyncio
import itertools

import pytest

from hansa.server.lifecycle.batches import LONGEST_REST, Batches


class Doubling:
    """Answers when it is let, and remembers what it was asked together."""

    def __init__(self, *, open_from_the_start=True):
        self.asked = []
        self.gate = asyncio.Event()
        if open_from_the_start:
            self.gate.set()

    async def __call__(self, numbers):
        self.asked.append(list(numbers))
        await self.gate.wait()
        return [number * 2 if number else 1 // number for number in numbers]


async def started(batches, *numbers):
    tasks = [asyncio.create_task(batches.ask(number)) for number in numbers]
    for _ in range(5):
        await asyncio.sleep(0)
    return tasks


async def test_one_alone_is_asked_at_once():
    doubling = Doubling()
    assert await Batches(doubling).ask(2) == 4
    assert doubling.asked == [[2]]


async def test_what_comes_while_others_are_answered_is_the_next_batch():
    doubling = Doubling(open_from_the_start=False)
    batches = Batches(doubling)
    first = await started(batches, 1)
    others = await started(batches, 2, 3, 4)
    doubling.gate.set()
    assert await asyncio.gather(*first, *others) == [2, 4, 6, 8]
    assert doubling.asked == [[1], [2, 3, 4]]


async def test_a_batch_is_not_larger_than_it_may_be():
    doubling = Doubling()
    assert await asyncio.gather(*(Batches(doubling, most=2).ask(1) for _ in range(1))) == [2]
    batches = Batches(doubling, most=2)
    assert await asyncio.gather(*map(batches.ask, range(1, 6))) == [2, 4, 6, 8, 10]
    assert doubling.asked[1:] == [[1, 2], [3, 4], [5]]


async def test_one_that_fails_costs_the_others_nothing():
    batches = Batches(Doubling())
    answers = await asyncio.gather(*map(batches.ask, (1, 0, 3)), return_exceptions=True)
    assert (answers[0], answers[2]) == (2, 6)
    assert isinstance(answers[1], ZeroDivisionError)


async def test_who_goes_before_the_batch_has_begun_is_not_in_it():
    doubling = Doubling(open_from_the_start=False)
    batches = Batches(doubling)
    first = await started(batches, 1)
    gone, stays = await started(batches, 2, 3)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    doubling.gate.set()
    assert await asyncio.gather(*first, stays) == [2, 6]
    assert doubling.asked == [[1], [3]]


async def test_who_goes_while_it_is_answered_waits_for_the_end():
    doubling = Doubling(open_from_the_start=False)
    (gone,) = await started(Batches(doubling), 1)
    gone.cancel()
    await asyncio.sleep(0)
    assert not gone.done()
    doubling.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await gone


def test_one_loop_after_the_other_may_use_them():
    batches = Batches(Doubling())
    assert [asyncio.run(batches.ask(number)) for number in (1, 2)] == [2, 4]


@pytest.mark.parametrize(("rest", "order"), [(2.0, ["batch", "next", "batch"]), (0.0, ["batch", "batch", "next"])])
async def test_who_was_answered_comes_again_before_the_batches_behind_are_begun_where_they_rest(rest, order):
    """A batch that takes ten milliseconds by the clock; what its asker does next takes twenty turns of the loop."""
    seen, moments = [], itertools.count(0.0, 0.01)

    async def together(numbers):
        seen.append("batch")
        return numbers

    async def ask_and_go_on(number):
        await batches.ask(number)
        if number == 0:
            for _ in range(20):
                await asyncio.sleep(0)
            seen.append("next")

    batches = Batches(together, most=1, rest=rest, clock=lambda: next(moments))
    await asyncio.gather(*(ask_and_go_on(number) for number in range(2)))

    assert seen == order


async def test_a_batch_that_took_a_minute_is_not_rested_from_for_two(monkeypatch):
    rests = []

    async def note(seconds):
        rests.append(seconds)

    moments = itertools.count(0.0, 60.0)
    monkeypatch.setattr("hansa.server.lifecycle.batches.asyncio.sleep", note)
    doubling = Doubling()
    batches = Batches(doubling, most=1, rest=2.0, clock=lambda: next(moments))

    assert await asyncio.gather(batches.ask(1), batches.ask(2)) == [2, 4]
    assert rests == [LONGEST_REST]


@pytest.mark.parametrize("times", [1, 2, 5])
async def test_who_is_cancelled_however_often_waits_for_the_batch_that_has_begun(times):
    """A client that goes, and comes again while the commit of its first try is slow, cancels that try twice."""
    doubling = Doubling(open_from_the_start=False)
    (asked,) = await started(Batches(doubling), 1)
    for _ in range(times):
        asked.cancel()
        for _ in range(5):
            await asyncio.sleep(0)
        assert not asked.done(), "its batch is still at work"

    doubling.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await asked
