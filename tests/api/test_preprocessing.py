"""GET and POST /api/models/<id>/preprocessing/, and the preprocessing that comes with a new model."""

import base64

import pytest
import torch

from hansa.protocol.models import Accepted, ModelCreated, ModelMetadata
from hansa.protocol.models import Model as ModelRecord
from hansa.server.blobs import store
from hansa.server.lifecycle.bridge import call, read
from hansa.server.registry.models import Model
from support.answers import nothing_changes, refused, refused_field, shown
from support.torchfiles import bare_harm, harm_in_zip, harmful, pickled, scripted
from support.work import File, file_of, small_params

URL = "/api/models/"
PIPELINES = {
    "module": lambda: pickled(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Identity())),
    "script": lambda: scripted(torch.nn.Flatten()),
    "module with arrays": lambda: pickled(torch.nn.BatchNorm1d(3)),
}


def url(model):
    return f"{URL}{model.id}/preprocessing/"


def form(file):
    return {"files": {"model_preprocessing_file": ("pre.pt", file.content)}}


@pytest.fixture(params=PIPELINES)
def pipeline(request):
    """A preprocessing without a single array, but for the last."""
    return PIPELINES[request.param]()


async def test_it_is_stored_and_comes_back_as_it_was(alice, model, pipeline, home):
    accepted = shown(await alice.post(url(model), **form(pipeline)), Accepted, 202)

    assert accepted == Accepted(detail="Proprocessing Model Upload Accepted", model_id=str(model.id))
    response = await alice.get(url(model))
    assert (response.status_code, response.content) == (200, pipeline.content)
    assert response.headers["Content-Type"] == "application/octet-stream"
    assert response.headers["Content-Disposition"] == f'attachment; filename="model-{model.id}-proprecessing.pt"'
    assert list((home / "tmp").iterdir()) == []


async def test_it_may_come_with_the_model(alice, pipeline):
    files = {
        "model_preprocessing_file": ("pre.pt", pipeline.content),
        "model_file": ("model.pt", file_of(small_params()).content),
    }
    made = shown(await alice.post(URL, data={"name": "net"}, files=files), ModelCreated, 201)

    assert (await alice.get(f"{URL}{made.model_id}/preprocessing/")).content == pipeline.content
    (record,) = shown(await alice.get(URL), list[ModelRecord])
    assert (record.has_preprocessing, record.preprocessing) == (True, None), "the bytes are not in lists"
    detail = shown(await alice.get(f"{URL}{made.model_id}/metadata/"), ModelMetadata)
    assert base64.b64decode(detail.preprocessing) == pipeline.content


async def test_the_same_file_may_be_the_model_and_its_preprocessing(alice):
    """One blob under two names: who keeps it must not wait for itself."""
    content = pickled(torch.nn.Linear(2, 2)).content
    files = {"model_file": ("a.pt", content), "model_preprocessing_file": ("b.pt", content)}

    made = shown(await alice.post(URL, data={"name": "net"}, files=files), ModelCreated, 201)

    row = await read(Model.objects.get, id=made.model_id)
    assert row.preprocessing_id == row.archive_id
    assert store.path_of(row.archive_id).read_bytes() == content


async def test_large_ones_are_not_shown_in_the_record(alice, model):
    large = pickled(torch.nn.Linear(1024, 300))
    await alice.post(url(model), **form(large))

    record = shown(await alice.get(f"{URL}{model.id}/metadata/"), ModelMetadata)
    assert (record.has_preprocessing, record.preprocessing) == (True, None)


async def test_another_one_replaces_it(alice, model):
    for value in PIPELINES.values():
        last = value()
        await alice.post(url(model), **form(last))

    assert (await alice.get(url(model))).content == last.content


async def test_who_has_it_gets_it_not_again(alice, model, pipeline):
    await alice.post(url(model), **form(pipeline))
    etag = (await alice.head(url(model))).headers["ETag"]

    assert (await alice.get(url(model), headers={"If-None-Match": etag})).status_code == 304
    assert (await alice.get(url(model), headers={"Range": "bytes=0-3"})).content == pipeline.content[:4]


async def test_it_comes_whatever_its_client_accepts_and_refusals_are_json(alice, model, pipeline):
    only = {"Accept": "application/octet-stream"}
    refused(await alice.get(url(model), headers=only), 404, "not_found")
    await alice.post(url(model), **form(pipeline))

    assert (await alice.get(url(model), headers=only)).content == pipeline.content


async def test_where_there_is_none_that_is_said(alice, model):
    refused(await alice.get(url(model)), 404, "not_found", str(model.id), "no preprocessing")


async def test_participants_fetch_it_and_only_the_owner_sets_it(alice, bob, mallory, nobody, root, training, model):
    file = PIPELINES["module"]()
    for person in (alice, root):
        shown(await person.post(url(model), **form(file)), Accepted, 202)

    assert (await bob.get(url(model))).content == file.content
    async with nothing_changes():
        refused(await bob.post(url(model), **form(file)), 403, "permission_denied", "not the owner")
        refused(await mallory.post(url(model), **form(file)), 404, "not_found")
        refused(await mallory.get(url(model)), 404, "not_found")
        assert (await nobody.get(url(model))).status_code == 401


NOT_PIPELINES = {
    "nothing": lambda: File(b""),
    "text": lambda: File(b"def forward(x): return x"),
    "a tensor": lambda: pickled(torch.zeros(3)),
    "a state dict": lambda: pickled(torch.nn.Linear(2, 2).state_dict()),
    "a function": lambda: pickled(len),
    "safetensors": lambda: file_of(small_params()),
    "an empty zip": lambda: File(b"PK\x05\x06" + b"\0" * 18),
    "cut off": lambda: File(pickled(torch.nn.Flatten()).content[:-30]),
}


@pytest.mark.parametrize("make", NOT_PIPELINES.values(), ids=NOT_PIPELINES)
async def test_what_is_no_module_is_refused_and_leaves_nothing_behind(alice, model, make):
    async with nothing_changes():
        refused(await alice.post(url(model), **form(make())), 422, "bad_model_file", "model_preprocessing_file: ")


async def test_a_new_model_with_a_bad_preprocessing_is_no_model(alice):
    files = {
        "model_file": ("model.pt", file_of(small_params()).content),
        "model_preprocessing_file": ("pre.pt", pickled(torch.zeros(3)).content),
    }
    async with nothing_changes():
        response = await alice.post(URL, data={"name": "net"}, files=files)
        refused(response, 422, "bad_model_file", "model_preprocessing_file: ")


async def test_a_form_without_the_file_is_refused(alice, model):
    async with nothing_changes():
        response = await alice.post(url(model), files={"model_file": ("pre.pt", b"PK")})
        refused_field(response, "model_preprocessing_file", "No file")
        refused(await alice.post(url(model), json={}), 415, "unsupported_media_type", "multipart/form-data")


@pytest.mark.parametrize("make", [harmful, bare_harm, harm_in_zip])
async def test_a_pickle_that_would_write_a_file_writes_none(alice, model, tmp_path, make):
    target = tmp_path / "written"

    response = await alice.post(url(model), **form(make(target)))
    await alice.get(url(model))
    await alice.get(f"{URL}{model.id}/metadata/")

    assert response.status_code in (202, 422), "a module is fine: what hangs on it is not looked at"
    assert not target.exists()


async def test_what_was_replaced_is_collected(alice, model):
    await alice.post(url(model), **form(PIPELINES["script"]()))
    replaced = (await read(Model.objects.get, id=model.id)).preprocessing_id
    await alice.post(url(model), **form(PIPELINES["module"]()))

    from hansa.server.blobs.services import unreferenced
    from support.home import START

    later = START.replace(year=2030)
    assert replaced in await call(lambda: set(unreferenced(before=later).values_list("sha256", flat=True)))
