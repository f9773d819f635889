"""How long the bytes of updates are kept: until their round is done, and as many rounds longer as the plan says."""

import pytest

from hansa.server.blobs import services, store
from hansa.server.lifecycle.bridge import call, read
from hansa.server.trainings.models import Task, Update
from hansa.server.trainings.services import rounds
from support.work import add_up, lease, settle, start, update, upload, upload_and_report

ROUNDS = 4


async def do_round(training, number, *clients):
    """A round in which every client sends an update of its own."""
    for place, client in enumerate(clients):
        await upload_and_report(client, await call(lease, client), file_in(number, place))
    await call(settle, training)
    await call(add_up, training)


def file_in(number, place):
    return update(10.0 * number + place)


def kept_rounds():
    return sorted(set(Update.objects.exclude(blob=None).values_list("task__round__number", flat=True)))


@pytest.mark.parametrize(
    ("keep", "kept_after"), [(0, [[], [], [], []]), (1, [[1], [2], [3], [4]]), (2, [[1], [1, 2], [2, 3], [3, 4]])]
)
async def test_updates_are_kept_for_so_many_rounds_after_their_own(bob, carol, make_training, clock, keep, kept_after):
    training = await call(lambda: start(make_training(bob, carol, rounds=ROUNDS, keep_updates=keep)))
    for number in range(1, ROUNDS + 1):
        await do_round(training, number, bob, carol)
        assert await read(kept_rounds) == kept_after[number - 1], f"after round {number}"

    assert await read(Update.objects.count) == 2 * ROUNDS, "the rows stay, with the digests"
    clock.advance(3600)
    await services.collect(before=clock.now)
    for number in range(1, ROUNDS + 1):
        for place in range(2):
            is_there = store.path_of(file_in(number, place).digest).exists()
            assert is_there == (number in kept_after[-1]), "collection deletes the files that are let go, and no others"


async def test_until_its_round_is_done_an_update_is_kept(bob, carol, started, clock):
    await upload_and_report(bob, await call(lease, bob), update())
    clock.advance(24 * 3600)

    await services.collect(before=clock.now)

    assert store.path_of(update().digest).exists()


async def test_an_upload_that_was_not_reported_is_kept_as_long(bob, bobs_task, clock):
    await upload(bob, bobs_task, update())
    clock.advance(24 * 3600)

    await services.collect(before=clock.now)

    assert store.path_of(update().digest).exists()


@pytest.mark.parametrize("keep", [0, 3])
async def test_the_updates_of_an_attempt_that_came_to_nothing_are_let_go(bob, carol, make_training, clock, keep):
    training = await call(lambda: start(make_training(bob, carol, keep_updates=keep)))
    await upload_and_report(bob, await call(lease, bob), update())
    await upload(carol, await call(lease, carol), update(2.0))

    await call(rounds.abandon, training_id=training.id, reason="torn", now=clock.now)

    assert await read(kept_rounds) == []
    assert not await read(Task.objects.exclude(uploaded=None).exists)


async def test_an_update_that_is_somebody_elses_as_well_is_not_lost_with_ones_own(bob, carol, make_training, clock):
    """The same bytes in two trainings are one blob: it stays for the one that still needs it."""
    first = await call(lambda: start(make_training(bob)))
    await call(lambda: start(make_training(carol)))
    await upload_and_report(bob, await call(lease, bob), update())
    await upload_and_report(carol, await call(lease, carol), update())
    await call(settle, first)
    await call(add_up, first)
    clock.advance(3600)

    await services.collect(before=clock.now)

    assert store.path_of(update().digest).exists()
