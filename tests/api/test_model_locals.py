"""Local models: what clients have sent in a round, seen as models under the ids of their tasks."""

import uuid

import pytest
from safetensors.numpy import load

from hansa.protocol.models import Metric, ModelMetadata
from hansa.protocol.models import Model as ModelRecord
from hansa.server.lifecycle.bridge import call, read
from hansa.server.registry.models import Model
from hansa.server.trainings.models import Participation, Task, Update
from hansa.server.trainings.services import trainings
from support.answers import nothing_changes, refused, refused_field, shown
from support.torchfiles import filled, pickled, small_net, state_of
from support.work import add_up, file_of, lease, settle, start, update, upload_and_report

URL = "/api/models/"
BUFFERS = frozenset({"1.running_mean", "1.running_var", "1.num_batches_tracked"})


@pytest.fixture
async def local(bob, started):
    """Bob's update of the first round, of 10 examples."""
    task = await call(lease, bob)
    await upload_and_report(bob, task, update(2.0))
    return str(task.id)


async def test_a_local_model_says_whose_it_is_and_what_it_was_trained_from(alice, bob, model, started, local):
    model.first_round = 3
    await call(model.save)

    record = shown(await bob.get(f"{URL}{local}/metadata/"), ModelMetadata)

    assert (record.id, record.kind, record.owner, record.base_model) == (local, "local", bob.id, str(model.id))
    assert (record.round, record.version, record.sample_size) == (3, None, 10)
    assert (record.training, record.stats, record.models) == (str(started.id), None, None)
    assert [array.name for array in record.arrays] == sorted(update_names())


def update_names():
    return load(update().content)


async def test_its_client_finds_it_in_the_list_and_nobody_else_does(alice, bob, carol, model, local):
    kinds = {person.user.username: await listed(person) for person in (alice, bob, carol)}

    assert kinds == {
        "alice": [str(model.id)],
        "bob": [str(model.id), local],
        "carol": [str(model.id)],
    }


async def listed(person):
    return [record.id for record in shown(await person.get(URL), list[ModelRecord])]


async def test_its_bytes_are_those_that_were_sent(alice, bob, local):
    for person in (alice, bob):
        response = await person.get(f"{URL}{local}/")
        assert (response.status_code, response.content) == (200, update(2.0).content)
        assert response.headers["Content-Disposition"] == f'attachment; filename="model-{local}.safetensors"'


async def test_of_a_model_of_torch_they_come_in_its_archive(alice, bob, make_training):
    file = pickled(small_net(1.0))
    made = await alice.post(URL, data={"name": "net"}, files={"model_file": ("net.pt", file.content)})
    model = await read(Model.objects.get, id=made.json()["model_id"])
    await call(lambda: start(make_training(bob, model=model)))
    task = await call(lease, bob)
    sent = file_of(state_of(pickled(filled(small_net(), 7.0)).content), BUFFERS)
    await upload_and_report(bob, task, sent)

    archive = await bob.get(f"{URL}{task.id}/")
    assert archive.headers["Content-Disposition"] == f'attachment; filename="model-{task.id}.pt"'
    assert state_of(archive.content)["3.bias"].tolist() == [7.0] * 3
    assert (await bob.get(f"{URL}{task.id}/?format=safetensors")).content == sent.content


async def test_it_has_no_versions(bob, local):
    refused_field(await bob.get(f"{URL}{local}/?version=0"), "version", "no versions")
    refused(await bob.get(f"{URL}{local}/versions/"), 404, "not_found")


async def test_only_its_client_the_actor_and_who_goes_on_from_it_see_it(
    alice, bob, carol, mallory, root, nobody, started, local
):
    for rest in ("", "metadata/", "metrics/"):
        for person in (alice, bob, root):
            assert (await person.get(f"{URL}{local}/{rest}")).status_code == 200
        for person in (carol, mallory):
            refused(await person.get(f"{URL}{local}/{rest}"), 404, "not_found", local)
        assert (await nobody.get(f"{URL}{local}/{rest}")).status_code == 401

    await call(hand_to_carol, local, carol)
    for rest in ("", "metadata/"):
        assert (await carol.get(f"{URL}{local}/{rest}")).status_code == 200
    await call(trainings.remove_clients, training_id=started.id, clients=[carol.user])
    refused(await carol.get(f"{URL}{local}/"), 404, "not_found")


def hand_to_carol(local, carol):
    source = Update.objects.get(task_id=local)
    Task.objects.filter(participation=Participation.objects.get(client=carol.user)).update(source=source)


async def test_once_its_params_are_let_go_the_record_stays_and_the_bytes_are_gone(
    alice, bob, carol, model, started, local
):
    await upload_and_report(carol, await call(lease, carol), update(4.0))
    await call(settle, started)
    await call(add_up, started)
    await call(Update.objects.filter(task_id=local).update, blob=None)

    refused(await bob.get(f"{URL}{local}/"), 404, "not_found", "no longer kept", "keep_updates")
    assert shown(await bob.get(f"{URL}{local}/metadata/"), ModelMetadata).sample_size == 10
    assert await listed(bob) == [str(model.id)]


async def test_its_metrics_are_those_that_came_with_it(alice, bob, carol, model, started, local):
    await upload_and_report(carol, await call(lease, carol), update(4.0))

    (metric,) = shown(await alice.get(f"{URL}{local}/metrics/"), list[Metric])
    assert (metric.model, metric.reporter, metric.key, metric.value, metric.step) == (local, bob.id, "loss", 0.5, 0)
    async with nothing_changes():
        body = {"metric_names": ["a"], "metric_values": [1]}
        refused(await bob.post(f"{URL}{local}/metrics/", json=body), 409, "wrong_state", str(model.id))


async def test_who_is_to_go_on_from_it_is_not_told_what_its_client_measured(carol, local):
    await call(hand_to_carol, local, carol)

    assert (await carol.get(f"{URL}{local}/")).status_code == 200
    assert shown(await carol.get(f"{URL}{local}/metrics/"), list[Metric]) == []


async def test_its_preprocessing_is_that_of_its_global_model(alice, bob, model, local):
    refused(await bob.get(f"{URL}{local}/preprocessing/"), 404, "not_found", "no preprocessing")
    file = pickled(small_net())
    await alice.post(f"{URL}{model.id}/preprocessing/", files={"model_preprocessing_file": ("p", file.content)})

    assert (await bob.get(f"{URL}{local}/preprocessing/")).content == file.content
    async with nothing_changes():
        files = {"model_preprocessing_file": ("p", file.content)}
        refused(await bob.post(f"{URL}{local}/preprocessing/", files=files), 404, "not_found")


async def test_its_client_gets_that_no_more_once_it_is_removed_from_the_training(alice, bob, model, started, local):
    file = pickled(small_net())
    await alice.post(f"{URL}{model.id}/preprocessing/", files={"model_preprocessing_file": ("p", file.content)})

    await call(trainings.remove_clients, training_id=started.id, clients=[bob.user])

    refused(await bob.get(f"{URL}{local}/preprocessing/"), 404, "not_found")


async def test_it_cannot_be_deleted(alice, bob, carol, local):
    async with nothing_changes():
        for person in (alice, bob):
            refused(await person.delete(f"{URL}{local}/"), 409, "wrong_state", "goes with its training")
        refused(await carol.delete(f"{URL}{local}/"), 404, "not_found")


async def test_a_task_without_an_update_is_no_model(carol, started):
    task = await call(lease, carol)
    refused(await carol.get(f"{URL}{task.id}/"), 404, "not_found")
    refused(await carol.get(f"{URL}{uuid.uuid4()}/"), 404, "not_found")


@pytest.mark.parametrize(("query", "field"), [("format=onnx", "format"), ("version=one", "version")])
async def test_a_question_that_makes_no_sense_is_refused(alice, model, query, field):
    refused_field(await alice.get(f"{URL}{model.id}/?{query}"), field)


@pytest.mark.parametrize("number", ["-1", "1.5", "", "٣", "9" * 5000])
async def test_what_is_no_number_of_a_version_is_refused(alice, model, number):
    refused_field(await alice.get(f"{URL}{model.id}/", params={"version": number}), "version", "no number")


async def test_safetensors_do_not_become_an_archive(alice, model):
    response = await alice.get(f"{URL}{model.id}/?format=pt")
    refused(response, 406, "not_acceptable", "created from safetensors", "format=safetensors")
