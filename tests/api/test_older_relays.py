"""Daisy chaining with older clients: they are told a local model's id, and send what they make of it to any id of it.

Bob, Carol and Dave have sent their first updates; each is to go on from one of them.
"""

import pytest
from safetensors.numpy import load

from hansa.server.blobs import store
from hansa.server.lifecycle.bridge import call, read
from hansa.server.trainings import older_uploads
from hansa.server.trainings.models import Round, Task, Training, Update
from hansa.server.trainings.services import rounds, trainings
from support.answers import nothing_changes, refused
from support.older import Small, accepted, scripted, send_update
from support.work import add_up, settle, start, update


@pytest.fixture
def dave(person):
    return person("dave", client=True)


@pytest.fixture
async def relayed(make_training, bob, carol, dave) -> Training:
    training = await call(lambda: start(make_training(bob, carol, dave, rounds=2, daisy_chain={"period": 2})))
    for add, client in enumerate((bob, carol, dave)):
        await accepted(client, training.model_id, scripted(Small(float(add))), round=0)
    await call(settle, training)
    assert (await read(Round.objects.get, training=training, number=2)).state == "collecting"
    return training


async def task_of(client, number):
    rows = Task.objects.select_related("source", "update")
    return await read(rows.get, round__number=number, participation__client=client.user)


async def unseen_by(client):
    """A local model that is neither the client's own nor what it goes on from."""
    own, given = (await task_of(client, 1)).id, (await task_of(client, 2)).source.task_id
    others = Task.objects.filter(round__number=1).exclude(id__in=(own, given))
    return await read(lambda: others.values_list("id", flat=True)[0])


@pytest.mark.parametrize("named", ["what it was told", "its own local model", "the global model"])
async def test_the_update_is_accepted_under_every_id_that_the_client_knows(bob, relayed, named):
    task = await task_of(bob, 2)
    ids = {
        "what it was told": task.source.task_id,
        "its own local model": (await task_of(bob, 1)).id,
        "the global model": relayed.model_id,
    }

    await accepted(bob, ids[named], scripted(Small(7.0)), round=1)

    assert (await task_of(bob, 2)).update.digest == update(7.0).digest


async def test_an_update_is_measured_from_where_the_attempt_begins_that_it_counts_in(
    bob, carol, relayed, clock, monkeypatch
):
    """While the file is looked at the round begins anew, and Bob is dealt what Carol sent, or Dave if he had that."""
    before = await task_of(bob, 2)
    content, keep = scripted(Small(7.0)), older_uploads.keep

    def begin_anew() -> None:
        rounds.abandon(training_id=relayed.id, reason="the others were lost", now=clock.now)
        settle(relayed)
        again = Task.objects.get(round__number=2, round__attempt=2, participation__client=bob.user)
        others = Update.objects.exclude(task_id=before.source.task_id).exclude(task__participation__client=bob.user)
        Task.objects.filter(id=again.id).update(source=others.get(task__round__number=1))

    async def keep_later(*args: object) -> object:
        monkeypatch.setattr(older_uploads, "keep", keep)
        await call(begin_anew)
        return await keep(*args)

    monkeypatch.setattr(older_uploads, "keep", keep_later)
    await accepted(bob, relayed.model_id, content, round=1)

    update_of_bob = await read(Update.objects.select_related("task__source", "task__round").get, task__round__number=2)
    begun = load(store.path_of(update_of_bob.task.source.digest).read_bytes())["fc.bias"][0]
    assert update_of_bob.task.round.attempt == 2
    assert update_of_bob.norm == pytest.approx(3 * (7.0 - begun))


async def test_sent_to_two_of_them_it_counts_once(bob, relayed):
    task, content = await task_of(bob, 2), scripted(Small(7.0))
    await accepted(bob, task.source.task_id, content, round=1)

    async with nothing_changes():
        await accepted(bob, relayed.model_id, content, round=1)
        refused(await send_update(bob, relayed.model_id, scripted(Small(8.0)), round=1), 409, "digest_conflict")


async def test_the_client_fetches_what_it_was_told_and_sees_no_other_clients_model(bob, relayed):
    told = (await task_of(bob, 2)).source
    answer = await bob.get(f"/api/models/{told.task_id}/?format=safetensors")
    assert (answer.status_code, answer.headers["ETag"].strip('"')) == (200, told.digest)

    async with nothing_changes():
        other = await unseen_by(bob)
        refused(await bob.get(f"/api/models/{other}/"), 404, "not_found")
        refused(await send_update(bob, other, update().content, round=1), 404, "not_found")


async def test_the_actor_sees_local_models_and_sends_none(alice, bob, relayed):
    async with nothing_changes():
        local = (await task_of(bob, 1)).id
        refused(await send_update(alice, local, update().content, round=1), 403, "permission_denied")


async def test_who_was_removed_sends_nothing_to_its_own_local_model(bob, relayed):
    await call(trainings.remove_clients, training_id=relayed.id, clients=[bob.user])

    async with nothing_changes():
        local = (await task_of(bob, 1)).id
        answer = await send_update(bob, local, update().content, round=1)
        refused(answer, 403, "permission_denied", "not a participant")


async def test_an_update_of_the_round_that_was_handed_on_is_known_again(bob, relayed):
    async with nothing_changes():
        await accepted(bob, relayed.model_id, scripted(Small(0.0)), round=0)
        refused(await send_update(bob, relayed.model_id, update(9.0).content, round=0), 409, "round_closed")


async def test_the_period_ends_with_the_mean_of_what_came_last(alice, bob, carol, dave, relayed):
    for add, client in ((1.0, bob), (2.0, carol), (6.0, dave)):
        told = (await task_of(client, 2)).source.task_id
        await accepted(client, told, scripted(Small(add)), round=1)
    await call(settle, relayed)
    await call(add_up, relayed)

    version = await alice.get(f"/api/models/{relayed.model_id}/versions/1/params/")
    assert version.content == update(3.0).content
