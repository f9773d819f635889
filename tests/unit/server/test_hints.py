"""Hints wake who waits, from any thread, and are never needed."""

import asyncio
import threading
from uuid import uuid4

import pytest

from hansa.server.trainings.hints import Hints


@pytest.fixture
async def hints():
    hints = Hints()
    hints.bind(asyncio.get_running_loop())
    return hints


def from_another_thread(function, *arguments):
    thread = threading.Thread(target=function, args=arguments)
    thread.start()
    thread.join()


async def test_who_waits_under_a_key_is_woken_by_it_and_by_no_other(hints):
    bob, carol = uuid4(), uuid4()
    with hints.waiter(bob) as bobs, hints.waiter(carol) as carols:
        from_another_thread(hints.tasks_offered, [bob])
        async with asyncio.timeout(30):
            await bobs.wait()

        assert not carols.is_set()


async def test_all_who_wait_under_a_key_are_woken(hints):
    key = uuid4()
    with hints.waiter(key) as first, hints.waiter(key) as second:
        from_another_thread(hints.tasks_offered, [key])
        async with asyncio.timeout(30):
            await asyncio.gather(first.wait(), second.wait())


async def test_a_hint_between_the_registration_and_the_sleep_is_not_missed(hints):
    key = uuid4()
    with hints.waiter(key) as woken:
        hints.tasks_offered([key])
        async with asyncio.timeout(30):
            await woken.wait()


async def test_trainings_that_moved_are_told_once_each(hints):
    one, other = uuid4(), uuid4()
    for training in (one, other, one):
        from_another_thread(hints.moved, training)

    assert await hints.next_moved(5) == {one, other}
    assert await hints.next_moved(0) == set()


async def test_who_follows_a_training_is_woken_when_it_moves(hints):
    training = uuid4()
    with hints.waiter(training) as woken:
        hints.moved(training)
        async with asyncio.timeout(30):
            await woken.wait()


async def test_a_hint_that_nobody_waits_for_is_forgotten(hints):
    key = uuid4()
    hints.tasks_offered([key])
    await asyncio.sleep(0)

    with hints.waiter(key) as woken:
        assert not woken.is_set()


async def test_who_has_gone_leaves_nothing_behind(hints):
    with hints.waiter(uuid4()):
        pass

    assert not hints._waiting


async def test_when_the_server_ends_everybody_is_woken(hints):
    with hints.waiter(uuid4()) as one, hints.waiter(uuid4()) as other:
        hints.close()

        assert (one.is_set(), other.is_set(), hints.closing) == (True, True, True)


def test_without_a_loop_hints_go_nowhere_and_do_no_harm():
    """Commands run beside the server: the sweep finds what they did."""
    hints = Hints()
    hints.moved(uuid4())
    hints.tasks_offered([uuid4()])


def test_a_loop_that_is_closed_is_no_loop():
    hints = Hints()
    loop = asyncio.new_event_loop()
    hints.bind(loop)
    loop.close()

    hints.moved(uuid4())
