"""What went wrong on the older platform and must not here, where no other test would notice if it did.

docs/explanation/older-platform.md has all its defects, each with its decision and its test; the numbers are its rows.
"""

import asyncio
import json

import pytest
import torch
from safetensors.numpy import load

from hansa.protocol.models import Metric, Model, ModelMetadata
from hansa.rounds.decisions import Aggregate, Wait
from hansa.server.blobs.store import TornBlobError
from hansa.server.lifecycle.bridge import call, read
from hansa.server.registry.models import Model as ModelRow
from hansa.server.registry.models import ModelVersion
from hansa.server.trainings import stepping
from hansa.server.trainings.models import Round, Task, Training
from hansa.server.trainings.services import trainings
from support.answers import nothing_changes, refused, shown
from support.older import Small, accepted, pickled, scripted, send_moments, send_update
from support.people import Person
from support.work import add_up, settle, start, update

URL = "/api/models/"


@pytest.fixture
def dave(person):
    return person("dave", client=True)


@pytest.fixture
async def of_three(bob, carol, dave, make_training):
    return await call(lambda: start(make_training(bob, carol, dave)))


# 3: who reads whose models


async def test_nothing_of_a_model_is_read_by_strangers_and_nothing_of_a_local_one_by_other_participants(
    alice, bob, carol, mallory, started
):
    await accepted(bob, started.model_id, update().content)
    local = str((await read(Task.objects.get, participation__client=bob.user)).id)
    of_model = ("", "metadata/", "metrics/", "preprocessing/", "versions/", "versions/0/", "versions/0/params/")
    of_local = ("", "metadata/", "metrics/", "preprocessing/")

    for rest in of_model:
        refused(await mallory.get(f"{URL}{started.model_id}/{rest}"), 404, "not_found", "not yours to see")
    for rest in of_local:
        for person in (mallory, carol):
            refused(await person.get(f"{URL}{local}/{rest}"), 404, "not_found")
        assert (await bob.get(f"{URL}{local}/{rest}")).status_code == (404 if rest == "preprocessing/" else 200)


# 12, 13: who counts


async def test_a_client_that_sends_twice_does_not_stand_in_for_another(bob, carol, started):
    await accepted(bob, started.model_id, scripted(Small(1.0)))
    refused(await send_update(bob, started.model_id, scripted(Small(2.0))), 409, "digest_conflict")
    await accepted(bob, started.model_id, scripted(Small(1.0)))

    assert isinstance(await call(settle, started), Wait)
    await accepted(carol, started.model_id, scripted(Small(4.0)))
    assert isinstance(await call(settle, started), Aggregate)


async def test_one_upload_too_many_does_not_keep_the_round_open(alice, bob, carol, dave, of_three):
    """All three have sent theirs, one of them twice, before one is removed: never were there as many as clients."""
    await accepted(bob, of_three.model_id, scripted(Small(1.0)))
    await send_update(bob, of_three.model_id, scripted(Small(2.0)))
    await accepted(dave, of_three.model_id, scripted(Small(3.0)))
    await call(trainings.remove_clients, training_id=of_three.id, clients=[dave.user])
    await accepted(carol, of_three.model_id, scripted(Small(4.0)))

    assert isinstance(await call(settle, of_three), Aggregate)
    accepted_list = (await read(Round.objects.get)).accepted
    assert [digest for _, digest, _ in accepted_list] == [update(add).digest for add in (1.0, 4.0, 3.0)]


# 15: deleted while something is computed


@pytest.mark.parametrize("fails", [False, True], ids=["sound", "an update is gone"])
async def test_a_training_that_is_deleted_while_it_is_aggregated_leaves_no_version_and_nothing_stumbles(
    alice, bob, carol, started, orchestrator, monkeypatch, caplog, fails
):
    model, real, deleted = started.model_id, stepping.aggregate, asyncio.Event()
    loop = asyncio.get_running_loop()

    def deletes_and_goes_on(*arguments):
        url = f"/api/trainings/{started.id}/"
        answer = asyncio.run_coroutine_threadsafe(alice.delete(url), loop).result(30)
        assert answer.status_code == 200, answer.text
        loop.call_soon_threadsafe(deleted.set)
        if fails:
            raise TornBlobError("0" * 64, "its file is not in the store")
        return real(*arguments)

    monkeypatch.setattr(stepping, "aggregate", deletes_and_goes_on)
    caplog.set_level("ERROR")
    await accepted(bob, model, scripted(Small(1.0)))
    await accepted(carol, model, scripted(Small(4.0)))
    async with asyncio.timeout(30):
        await deleted.wait()
        await asyncio.wait([task for task in asyncio.all_tasks() if "Orchestrator._aggregate" in repr(task)])
        await asyncio.sleep(0)  # what is done when it has ended

    assert await read(lambda: list(ModelVersion.objects.values_list("number", flat=True))) == [0]
    assert not await read(Training.objects.exists)
    assert not [record for record in caplog.records if record.exc_info], "nothing stumbles over rows that are gone"
    refused(await send_update(bob, model, scripted(Small(1.0))), 404, "not_found")


# 17, 18, 22: every kind of model, with and without a training


async def made(person: Person, kind: str, content: bytes) -> str:
    answer = await person.post(URL, data={"name": "net", "type": kind}, files={"model_file": content})
    assert answer.status_code == 201, answer.text
    return answer.json()["model_id"]


@pytest.mark.parametrize("kind", ["GLOBAL", "SWAG"])
async def test_a_model_that_has_no_training_is_listed_read_downloaded_and_measured(alice, kind):
    content = scripted(Small(1.0))
    model = await made(alice, kind, content)

    assert [each.id for each in shown(await alice.get(URL), list[Model])] == [model]
    assert shown(await alice.get(f"{URL}{model}/metadata/"), ModelMetadata).training is None
    assert (await alice.get(f"{URL}{model}/")).content == content
    metrics = {"metric_names": ["loss"], "metric_values": [0.5]}
    assert (await alice.post(f"{URL}{model}/metrics/", json=metrics)).status_code == 201
    assert [each.value for each in shown(await alice.get(f"{URL}{model}/metrics/"), list[Metric])] == [0.5]


@pytest.mark.parametrize("kind", ["GLOBAL", "SWAG"])
async def test_whatever_kind_a_model_is_its_clients_send_moments_and_its_version_is_downloaded_with_them(
    alice, bob, make_training, kind
):
    row = await read(ModelRow.objects.get, id=await made(alice, kind, scripted(Small(0.0))))
    training = await call(lambda: start(make_training(bob, model=row, uncertainty={"method": "swag"})))
    await accepted(bob, row.id, scripted(Small(1.0)))
    await call(settle, training)
    await call(add_up, training)
    ones = pickled(torch.ones(9))
    assert (await send_moments(bob, row.id, ones, ones)).status_code == 201
    await call(settle, training)
    await call(add_up, training)

    record = shown(await bob.get(f"{URL}{row.id}/metadata/"), ModelMetadata)
    assert record.swag_first_moment
    assert record.swag_second_moment
    archive = await bob.get(f"{URL}{row.id}/")
    assert (archive.status_code, archive.headers["Content-Type"]) == (200, "application/octet-stream")
    params = load((await bob.get(f"{URL}{row.id}/?format=safetensors")).content)
    assert params["fc.bias"].tolist() == [1.0] * 3


# 30: what was answered with 500


NOBODY = "00000000-0000-4000-8000-000000000000"
TENSOR = pickled(torch.ones(9))
MOMENTS = {"first_moment_file": TENSOR, "second_moment_file": TENSOR}


def as_json(text):
    return {"content": text, "headers": {"Content-Type": "application/json"}}


def form(files, **data):
    return {"data": {"sample_size": "1", **data}, "files": files}


BAD_INPUT = {
    "invalid JSON": ("alice POST trainings/", as_json(b"{")),
    "a training's id in words": ("alice GET trainings/digits/", {}),
    "a training without fields": ("alice POST trainings/", as_json(b"{}")),
    "a model without fields": ("alice POST models/", {"files": {"model_file": update().content}}),
    "a round in words": ("alice POST models/", form({"model_file": update().content}, name="net", round="one")),
    "a taken name": ("root POST users/", as_json(b'{"username": "bob", "password": "correct horse battery"}')),
    "a user without a password": ("root POST users/", as_json(b'{"username": "erin"}')),
    "a form without a user's name": ("root POST users/", {"data": {"password": "correct horse battery"}}),
    "a long name of a metric": (
        "bob POST models/{collecting}/metrics/",
        {"data": {"metric_names": "m" * 33, "metric_values": "1"}},
    ),
    "an update's round in words": (
        "bob POST models/{collecting}/",
        form({"model_file": update().content}, round="one"),
    ),
    "the latest models of no training": (f"alice GET trainings/{NOBODY}/models/latest/", {}),
    "moments where none are asked for": ("bob POST models/{collecting}/swag/", form(MOMENTS, round="0")),
    "moments of another round": ("bob POST models/{swag}/swag/", form(MOMENTS, round="7")),
    "moments without a round": ("bob POST models/{swag}/swag/", form(MOMENTS)),
    "moments of who takes no part": ("mallory POST models/{swag}/swag/", form(MOMENTS, round="1")),
    "moments of no model": (f"bob POST models/{NOBODY}/swag/", form(MOMENTS, round="1")),
    "one moment": ("bob POST models/{swag}/swag/", form({"first_moment_file": TENSOR}, round="1")),
    "moments that are no tensors": (
        "bob POST models/{swag}/swag/",
        form({**MOMENTS, "first_moment_file": b"1, 1, 1"}, round="1"),
    ),
}


@pytest.fixture
async def everything(person, alice, bob, mallory, root, make_training):
    """The people by name, and the models of two trainings: one collects, one asks for moments."""
    swag = await call(lambda: start(make_training(bob, uncertainty={"method": "swag"})))
    await accepted(bob, swag.model_id, update().content)
    await call(settle, swag)
    await call(add_up, swag)
    collecting = await call(lambda: start(make_training(bob)))
    people = {"alice": alice, "bob": bob, "mallory": mallory, "root": root}
    return people, {"swag": swag.model_id, "collecting": collecting.model_id}


@pytest.mark.parametrize(("asked", "sent"), BAD_INPUT.values(), ids=BAD_INPUT)
async def test_bad_input_is_the_callers_fault_and_leaves_nothing_behind(everything, asked, sent):
    people, models = everything
    who, method, path = asked.split()

    async with nothing_changes():
        answer = await people[who].request(method, f"/api/{path.format(**models)}", **sent)

    assert answer.status_code in (400, 404, 409), answer.text
    assert json.loads(answer.content), "the refusal says why"
