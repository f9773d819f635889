"""A client that is gone costs one lease, not one in every round: it is invited, and not waited for, until it comes."""

import pytest

from hansa.rounds.decide import LEASE_SECONDS, OFFER_SECONDS
from hansa.server.lifecycle.bridge import call, read
from hansa.server.trainings.models import Task
from support.work import add_up, lease, settle, start, update, upload_and_report


def states(training):
    newest = training.rounds.order_by("-number", "-attempt")[0]
    tasks = newest.tasks.filter(kind="train")
    return newest.number, {task.participation.client.username: task.state for task in tasks}


async def reports(client, training):
    await upload_and_report(client, await call(lease, client), update(1.0))
    await call(settle, training)


@pytest.fixture
async def second_round(make_training, bob, carol, clock):
    """Carol's lease ended in round 1; Bob's report made a version, and round 2 is open."""
    training = await call(lambda: start(make_training(bob, carol, rounds=4)))
    await call(lease, carol)
    await upload_and_report(bob, await call(lease, bob), update(1.0))
    clock.advance(LEASE_SECONDS + 1)
    await call(settle, training)
    await call(add_up, training)
    return training


async def test_a_round_does_not_wait_for_who_was_lost_in_the_one_before(bob, second_round):
    assert await read(states, second_round) == (2, {"bob": "offered", "carol": "lost"})

    await reports(bob, second_round)
    assert (await read(states, second_round))[1] == {"bob": "reported", "carol": "closed"}
    await call(add_up, second_round)
    assert await read(states, second_round) == (3, {"bob": "offered", "carol": "lost"})


async def test_who_comes_back_is_waited_for_again(bob, carol, second_round):
    task = await call(lease, carol)
    assert await read(states, second_round) == (2, {"bob": "offered", "carol": "leased"})

    await reports(bob, second_round)
    assert (await read(states, second_round))[0] == 2, "Carol is at work"
    await upload_and_report(carol, task, update(2.0))
    await call(settle, second_round)
    await call(add_up, second_round)
    assert await read(states, second_round) == (3, {"bob": "offered", "carol": "offered"})


async def test_a_client_that_stopped_by_itself_is_not_waited_for_either(make_training, bob, carol):
    training = await call(lambda: start(make_training(bob, carol, rounds=4)))
    task = await call(lease, carol)
    await carol.post(f"/api/tasks/{task.id}/release/", json={"reason": "the client was stopped"})
    await reports(bob, training)
    await call(add_up, training)

    assert await read(states, training) == (2, {"bob": "offered", "carol": "lost"})


async def test_where_the_present_are_too_few_the_absent_are_waited_for(make_training, bob, carol, clock):
    training = await call(lambda: start(make_training(bob, carol, rounds=4, closing={"min_reports": 2})))
    await call(lease, carol)
    await upload_and_report(bob, await call(lease, bob), update(1.0))
    clock.advance(LEASE_SECONDS + 1)
    await call(settle, training)

    attempt = await read(lambda: training.rounds.order_by("-attempt")[0].attempt)
    assert attempt == 2
    assert await read(states, training) == (1, {"bob": "offered", "carol": "offered"})


async def test_while_nobody_has_come_the_round_still_waits_for_everybody_present(bob, second_round, clock):
    clock.advance(10 * OFFER_SECONDS)
    await call(settle, second_round)

    assert await read(states, second_round) == (2, {"bob": "offered", "carol": "lost"})
    assert await read(Task.objects.filter(state="leased").count) == 0
