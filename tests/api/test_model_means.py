"""Means of models: made from ids, without bytes of their own."""

import uuid

import pytest

from hansa.protocol.models import Model as ModelRecord
from hansa.protocol.models import ModelCreated, ModelMetadata
from hansa.server.lifecycle.bridge import call
from hansa.server.trainings.services import trainings
from support.answers import nothing_changes, refused, refused_field, shown
from support.torchfiles import pickled, small_net
from support.work import BUFFERS, small_params, store_model

URL = "/api/models/"


@pytest.fixture
async def members(alice, tmp_path):
    """Three models of Alice's, of different shapes."""
    sizes = [small_params(), {"w": small_params()["fc.bias"]}, {"w": small_params()["fc.weight"]}]
    return [str((await call(store_model, alice, params, BUFFERS & params.keys(), tmp_path)).id) for params in sizes]


@pytest.fixture
def dave(person):
    """Somebody who may make models, and takes part in a training of Alice's."""
    return person("dave", actor=True)


def mean(members, **fields):
    return {"name": "ensemble", "description": "of three", "type": "MEAN", "models": members, **fields}


@pytest.mark.parametrize("way", ["JSON", "form"])
async def test_a_mean_is_made_of_models_of_any_shapes_in_their_order(alice, members, way):
    wanted = mean(members[::-1])
    # A form without a file is multipart only if it is asked for.
    body = {"json": wanted} if way == "JSON" else {"data": wanted, "files": {"none": ("", b"")}}

    made = shown(await alice.post(URL, **body), ModelCreated, 201)

    record = shown(await alice.get(f"{URL}{made.model_id}/metadata/"), ModelMetadata)
    assert (record.kind, record.models, record.description) == ("mean", members[::-1], "of three")
    assert (record.version, record.size, record.arrays, record.num_params, record.stats) == (None, 0, [], 0, None)
    listed = shown(await alice.get(URL), list[ModelRecord])
    assert [each.models for each in listed if each.models is not None] == [members[::-1]]


async def test_the_type_is_written_in_any_case(alice, members):
    shown(await alice.post(URL, json=mean(members, type="mEaN")), ModelCreated, 201)


async def test_a_mean_may_have_an_input_shape_a_round_and_a_preprocessing(alice, members):
    form = mean(members, input_shape=["None", "28"], round="3")
    files = {"model_preprocessing_file": ("pre.pt", pickled(small_net()).content)}

    made = shown(await alice.post(URL, data=form, files=files), ModelCreated, 201)

    record = shown(await alice.get(f"{URL}{made.model_id}/metadata/"), ModelMetadata)
    assert (record.input_shape, record.round, record.has_preprocessing) == ([None, 28], 3, True)


async def test_it_has_no_bytes_and_names_its_members_instead(alice, members):
    made = shown(await alice.post(URL, json=mean(members)), ModelCreated, 201)

    for query in ("", "?format=pt", "?format=safetensors", "?version=0"):
        refused(await alice.get(f"{URL}{made.model_id}/{query}"), 409, "wrong_state", *members)
    refused(await alice.get(f"{URL}{made.model_id}/versions/0/"), 404, "not_found", "mean of others")
    assert (await alice.get(f"{URL}{made.model_id}/versions/")).json() == []


WRONG = {
    "no members": ([], "made of other models"),
    "none said": (None, "made of other models"),
    "no id": (["first"], "'first' is no id"),
}


@pytest.mark.parametrize(("models", "words"), WRONG.values(), ids=WRONG)
async def test_what_is_wrong_with_the_members_is_said(alice, models, words):
    async with nothing_changes():
        refused_field(await alice.post(URL, json=mean(models)), "models", words)


async def test_a_member_counts_once(alice, members):
    async with nothing_changes():
        refused_field(await alice.post(URL, json=mean([*members, members[0].upper()])), "models", "twice")


async def test_a_mean_is_no_member_of_a_mean(alice, members):
    first = shown(await alice.post(URL, json=mean(members)), ModelCreated, 201).model_id
    async with nothing_changes():
        response = await alice.post(URL, json=mean([*members, first]))
        refused(response, 409, "wrong_state", first, "Give its members instead")


async def test_members_must_be_there_and_be_ones_own(alice, mallory, dave, members, training, model):
    unknown = str(uuid.uuid4())
    async with nothing_changes():
        refused(await alice.post(URL, json=mean([*members, unknown])), 404, "not_found", unknown)
        refused(await mallory.post(URL, json=mean(members)), 404, "not_found", members[0])
    await call(trainings.add_clients, training_id=training.id, clients=[dave.user])
    async with nothing_changes():
        response = await dave.post(URL, json=mean([str(model.id)]))
        refused(response, 403, "permission_denied", str(model.id), "one's own")


async def test_a_member_is_not_deleted_before_its_mean(alice, members):
    made = shown(await alice.post(URL, json=mean(members)), ModelCreated, 201).model_id
    async with nothing_changes():
        refused(await alice.delete(f"{URL}{members[1]}/"), 409, "wrong_state", "'ensemble'", made)

    assert (await alice.delete(f"{URL}{made}/")).status_code == 200
    assert (await alice.delete(f"{URL}{members[1]}/")).status_code == 200
