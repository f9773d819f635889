"""GET /api/trainings/<id>/models/ and …/models/latest/: the global model, and the local ones that are kept."""

import pytest

from hansa.protocol.models import Model
from hansa.server.lifecycle.bridge import call
from hansa.server.trainings.models import Task, Update
from hansa.server.trainings.services import trainings
from support.answers import refused, shown
from support.work import add_up, lease, settle, start, update, upload_and_report


def url(training, rest="models/"):
    return f"/api/trainings/{training.id}/{rest}"


async def listed(person, training, rest="models/"):
    """The global model's id, and owner and round of each local one."""
    first, *others = shown(await person.get(url(training, rest)), list[Model])
    assert all((each.kind, each.base_model, each.training) == ("local", first.id, str(training.id)) for each in others)
    return first.id, [(each.owner, each.round) for each in others]


@pytest.fixture
async def two_rounds(bob, carol, make_training):
    """Two rounds whose updates are kept; in the second only Bob has reported so far."""
    training = await call(lambda: start(make_training(bob, carol, rounds=3, keep_updates=5)))
    for client in (bob, carol):
        await upload_and_report(client, await call(lease, client), update())
    await call(settle, training)
    await call(add_up, training)
    await upload_and_report(bob, await call(lease, bob), update(2.0))
    return training


async def test_before_the_first_update_there_is_the_global_model_alone(alice, bob, training, model):
    for person in (alice, bob):
        for rest in ("models/", "models/latest/"):
            assert await listed(person, training, rest) == (str(model.id), [])


async def test_the_actor_sees_the_global_model_and_all_local_ones_that_are_kept(alice, bob, carol, two_rounds, model):
    assert await listed(alice, two_rounds) == (str(model.id), [(bob.id, 0), (carol.id, 0), (bob.id, 1)])


async def test_the_latest_are_the_newest_of_every_client(alice, bob, carol, two_rounds, model):
    assert await listed(alice, two_rounds, "models/latest/") == (str(model.id), [(bob.id, 1), (carol.id, 0)])


async def test_a_participant_sees_the_global_model_and_its_own(bob, carol, two_rounds, model):
    assert await listed(bob, two_rounds) == (str(model.id), [(bob.id, 0), (bob.id, 1)])
    assert await listed(carol, two_rounds) == (str(model.id), [(carol.id, 0)])
    assert await listed(bob, two_rounds, "models/latest/") == (str(model.id), [(bob.id, 1)])


async def test_what_is_no_longer_kept_is_not_listed(alice, bob, carol, started, model):
    for client in (bob, carol):
        await upload_and_report(client, await call(lease, client), update())
    assert len((await listed(alice, started))[1]) == 2

    await call(settle, started)
    await call(add_up, started)

    assert await listed(alice, started) == (str(model.id), [])
    assert await call(Update.objects.count) == 2, "that they were sent stays on record"


async def test_who_goes_on_from_another_clients_model_sees_it(alice, bob, carol, two_rounds, model):
    def hand_over():
        sent = Update.objects.get(task__participation__client=bob.user, task__round__number=2)
        Task.objects.filter(participation__client=carol.user, round__number=2).update(source=sent)

    await call(hand_over)

    assert await listed(carol, two_rounds) == (str(model.id), [(carol.id, 0), (bob.id, 1)])


@pytest.mark.parametrize("rest", ["models/", "models/latest/"])
async def test_to_who_has_no_part_in_it_there_is_no_such_training(bob, mallory, root, two_rounds, rest):
    refused(await mallory.get(url(two_rounds, rest)), 404, "not_found")
    assert (await root.get(url(two_rounds, rest))).status_code == 200
    await call(trainings.remove_clients, training_id=two_rounds.id, clients=[bob.user])
    refused(await bob.get(url(two_rounds, rest)), 404, "not_found")
