"""GET and POST /api/models/, DELETE /api/models/<id>/, GET /api/models/<id>/metadata/."""

import msgspec
import numpy as np
import pytest
from django.conf import settings
from safetensors.numpy import save

from hansa.protocol.models import ArrayInfo, Detail, ModelCreated, ModelMetadata
from hansa.protocol.models import Model as ModelRecord
from hansa.server.blobs import store
from hansa.server.lifecycle.bridge import call, read
from hansa.server.registry.models import Model, ModelVersion
from hansa.server.trainings.models import Training
from hansa.server.trainings.services import trainings
from support.answers import nothing_changes, refused, refused_field, shown
from support.exchange import Exchange
from support.work import BUFFERS, File, file_of, small_params, start

URL = "/api/models/"


def form(file=None, **fields):
    """A multipart body with a file, if there is one."""
    named = {"name": "digits", "description": "of the postal service", **fields}
    files = {} if file is None else {"model_file": ("model.safetensors", file.content)}
    return {"data": {name: value for name, value in named.items() if value is not None}, "files": files}


async def test_a_model_becomes_version_0_of_its_file(alice, home):
    file = file_of(small_params())

    created = shown(await alice.post(URL, **form(file)), ModelCreated, 201)

    assert (created.detail, created.warning) == ("Model Upload Accepted", "")
    row = await read(Model.objects.get, id=created.model_id)
    assert (row.owner_id, row.name, row.description) == (alice.user.id, "digits", "of the postal service")
    version = await read(ModelVersion.objects.get, model=row)
    assert (version.number, version.parent_id) == (0, None)
    assert store.path_of(version.blob_id).read_bytes() == file.content


async def test_the_record_says_what_the_model_is_made_of(alice, clock):
    created = shown(await alice.post(URL, **form(file_of(small_params()))), ModelCreated, 201)

    record = shown(await alice.get(f"{URL}{created.model_id}/metadata/"), ModelMetadata)

    assert record == ModelMetadata(
        id=created.model_id,
        owner=alice.id,
        name="digits",
        description="of the postal service",
        kind="global",
        round=0,
        version=0,
        num_params=9,
        size=len(file_of(small_params())),
        arrays=[
            ArrayInfo(name="fc.bias", dtype="float32", shape=[3], kind="param"),
            ArrayInfo(name="fc.weight", dtype="float32", shape=[3, 2], kind="param"),
            ArrayInfo(name="norm.num_batches_tracked", dtype="int64", shape=[], kind="buffer"),
            ArrayInfo(name="norm.running_mean", dtype="float32", shape=[3], kind="buffer"),
        ],
        training=None,
        created_at=clock.now.isoformat(),
        stats=None,
    )


async def test_the_list_holds_the_same_records_oldest_first_without_their_arrays(alice, clock):
    for name in ("first", "second"):
        await alice.post(URL, **form(file_of(small_params()), name=name))
        clock.advance(1)

    models = shown(await alice.get(URL), list[ModelRecord])

    assert [model.name for model in models] == ["first", "second"]
    detail = shown(await alice.get(f"{URL}{models[0].id}/metadata/"), ModelMetadata)
    assert detail.arrays
    assert msgspec.to_builtins(models[0]) | {"stats": None} == msgspec.to_builtins(detail) | {"arrays": []}


async def test_participants_see_the_model_of_their_training_and_nobody_else_does(
    alice, bob, mallory, root, training, model
):
    for person in (alice, bob, root):
        (seen,) = shown(await person.get(URL), list[ModelRecord])
        assert (seen.id, seen.training) == (str(model.id), str(training.id))
    assert shown(await mallory.get(URL), list[ModelRecord]) == []
    refused(await mallory.get(f"{URL}{model.id}/metadata/"), 404, "not_found", str(model.id), "not yours to see")


async def test_a_participant_that_was_removed_no_longer_sees_the_model(bob, training, model):
    await call(trainings.remove_clients, training_id=training.id, clients=[bob.user])

    refused(await bob.get(f"{URL}{model.id}/metadata/"), 404, "not_found")


async def test_files_that_hold_the_same_become_the_same_version_however_they_were_written(alice, home):
    first = shown(await alice.post(URL, **form(file_of(small_params()))), ModelCreated, 201)
    foreign = File(save(small_params(), metadata={"format": "pt"}))
    second = shown(await alice.post(URL, **form(foreign, buffers=sorted(BUFFERS))), ModelCreated, 201)

    versions = await read(lambda: {str(row.model_id): row.blob_id for row in ModelVersion.objects.all()})
    assert versions[first.model_id] == versions[second.model_id]


async def test_a_file_that_does_not_name_its_buffers_is_taken_with_a_warning(alice):
    created = shown(await alice.post(URL, **form(File(save(small_params())))), ModelCreated, 201)

    assert "all are taken as params" in created.warning
    record = shown(await alice.get(f"{URL}{created.model_id}/metadata/"), ModelMetadata)
    assert {array.kind for array in record.arrays} == {"param"}


async def test_buffers_may_be_named_in_the_form(alice):
    file = File(save(small_params()))
    created = shown(await alice.post(URL, **form(file, buffers=["norm.running_mean"])), ModelCreated, 201)

    record = shown(await alice.get(f"{URL}{created.model_id}/metadata/"), ModelMetadata)
    assert created.warning == ""
    assert [array.name for array in record.arrays if array.kind == "buffer"] == ["norm.running_mean"]


async def test_thousands_of_buffers_are_named_in_the_file_not_in_the_form(alice):
    params = {f"norm{number}.mean": np.zeros(1, np.float32) for number in range(1001)}

    async with nothing_changes():
        response = await alice.post(URL, **form(File(save(params)), buffers=list(params)))
        refused_field(response, "non_field_errors", "at most 1,000 fields", "'hansa.buffers'")

    shown(await alice.post(URL, **form(file_of(params, frozenset(params)))), ModelCreated, 201)


async def test_other_files_in_the_form_are_not_kept(alice, home):
    body = form(file_of(small_params()))
    body["files"]["readme"] = ("README.md", b"read me")
    shown(await alice.post(URL, **body), ModelCreated, 201)

    assert list((home / "tmp").iterdir()) == []


@pytest.mark.parametrize(
    ("file", "code", "words"),
    [
        (File(b""), "bad_model_file", ["0 bytes"]),
        (File(b"PK\x03\x04" + b"\0" * 100), "bad_model_file", ["archive"]),
        (File(file_of(small_params()).content[:-1]), "bad_model_file", ["cut off"]),
        (File(file_of(small_params()).content + b"\0"), "bad_model_file", ["too long"]),
        (File((10 * 2**30).to_bytes(8, "little") + b"{}"), "bad_model_file", ["10737418240"]),
        (File(save({})), "bad_model_file", ["no arrays"]),
        (file_of({"w": np.float32([1, np.nan])}, frozenset()), "not_finite", ["'w' holds nan at flat index 1"]),
        (File(save({"w": np.array([True])})), "bad_model_file", ["'w' has dtype", "BOOL"]),
    ],
    ids=["empty", "zip", "truncated", "overlong", "bomb", "no arrays", "nan", "bool"],
)
async def test_a_file_that_cannot_be_a_model_is_refused_and_leaves_nothing_behind(alice, file, code, words):
    async with nothing_changes():
        refused(await alice.post(URL, **form(file)), 422, code, *words)


async def test_a_buffer_that_the_file_does_not_hold_is_refused_by_name(alice):
    async with nothing_changes():
        response = await alice.post(URL, **form(file_of(small_params()), buffers=["running_mean"]))
        refused(response, 422, "bad_model_file", "'running_mean'")


@pytest.mark.parametrize("name", ["", "   ", None, "x" * 257])
async def test_a_model_needs_a_name(alice, name):
    async with nothing_changes():
        refused_field(await alice.post(URL, **form(file_of(small_params()), name=name)), "name", "1 to 256")


async def test_a_model_needs_a_file(alice):
    async with nothing_changes():
        body = form(file_of(small_params()))
        body["files"]["file"] = body["files"].pop("model_file")
        refused_field(await alice.post(URL, **body), "model_file", "safetensors")


async def test_a_model_with_a_file_is_not_sent_as_json(alice):
    async with nothing_changes():
        refused_field(await alice.post(URL, json={"name": "x"}), "model_file", "multipart/form-data")
        response = await alice.post(URL, data={"name": "x"})
        refused(response, 415, "unsupported_media_type", "multipart/form-data")


@pytest.mark.parametrize(
    "content_type", ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=x"]
)
async def test_a_multipart_body_that_cannot_be_read_is_refused(alice, content_type):
    async with nothing_changes():
        response = await alice.post(URL, content=b"--y\r\nnonsense", headers={"Content-Type": content_type})
        assert response.status_code == 400


async def test_a_text_field_of_many_megabytes_is_refused(alice):
    async with nothing_changes():
        response = await alice.post(URL, **form(file_of(small_params()), description="x" * 3 * 2**20))
        refused_field(response, "non_field_errors", "too long", "Shorten the description")


async def test_a_file_above_the_limit_is_refused_before_a_byte_is_read(alice, handler):
    limit = settings.CONFIG.max_model_bytes
    headers = {"content-type": "multipart/form-data; boundary=b", "content-length": str(limit + 1)}
    exchange = Exchange(handler, alice, "POST", URL, headers)
    await exchange.finished()

    assert (exchange.status, exchange.json["code"], exchange.asked) == (413, "too_large", 0)


async def test_a_client_that_breaks_off_leaves_nothing_behind(alice, handler):
    exchange = Exchange(handler, alice, "POST", URL, {"content-type": "multipart/form-data; boundary=b"})
    async with nothing_changes():
        exchange.send(b"--b\r\n")
        exchange.disconnect()
        await exchange.finished()
    assert exchange.status is None


async def test_only_people_create_models_and_machines_are_told_before_a_byte_is_read(bob, handler):
    headers = {"content-type": "multipart/form-data; boundary=b"}
    exchange = Exchange(handler, bob, "POST", URL, headers)
    await exchange.finished()

    assert (exchange.status, exchange.json["code"], exchange.asked) == (403, "permission_denied", 0)
    assert "actor role" in exchange.json["detail"]


async def test_the_owner_deletes_a_model_with_its_training(alice, training, model):
    assert shown(await alice.delete(f"{URL}{model.id}/"), Detail) == Detail(detail="Model removed!")

    assert not await read(Model.objects.exists)
    assert not await read(Training.objects.exists)


async def test_a_model_that_is_being_trained_is_not_deleted(alice, training, model):
    await call(start, training)
    async with nothing_changes():
        refused(await alice.delete(f"{URL}{model.id}/"), 409, "wrong_state", "Cancel its training first")
    await call(trainings.pause, training_id=training.id)
    async with nothing_changes():
        refused(await alice.delete(f"{URL}{model.id}/"), 409, "wrong_state", "Cancel its training first")


async def test_a_participant_may_see_a_model_but_not_delete_it(bob, training, model):
    async with nothing_changes():
        refused(await bob.delete(f"{URL}{model.id}/"), 403, "permission_denied", "neither the owner")


async def test_to_a_stranger_the_model_does_not_exist(mallory, model):
    async with nothing_changes():
        refused(await mallory.delete(f"{URL}{model.id}/"), 404, "not_found")
