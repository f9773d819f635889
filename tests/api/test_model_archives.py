"""Models from files that torch has saved: what becomes of them, and the archive that comes back with new numbers."""

import hashlib
import io
from collections import OrderedDict

import numpy as np
import pytest
import torch
from django.utils import timezone
from safetensors.numpy import load

from hansa.protocol.models import ModelCreated, ModelMetadata
from hansa.server.blobs import store
from hansa.server.lifecycle.bridge import call, read
from hansa.server.registry import services
from hansa.server.registry.models import Model, ModelVersion
from support.answers import nothing_changes, refused, shown
from support.torchfiles import FLAVOURS, bare_harm, filled, harm_in_zip, harmful, pickled, scripted, small_net, state_of
from support.work import add_up, file_of, lease, settle, start, upload_and_report

URL = "/api/models/"
BUFFERS = frozenset({"1.running_mean", "1.running_var", "1.num_batches_tracked"})


async def created(person, file, **fields):
    """The id of a model made from the file."""
    form = {"data": {"name": "net", **fields}, "files": {"model_file": ("whatever.bin", file.content)}}
    return shown(await person.post(URL, **form), ModelCreated, 201)


@pytest.fixture(params=FLAVOURS)
def flavour(request):
    return FLAVOURS[request.param]


async def test_a_file_of_torch_becomes_safetensors_and_stays_as_it_was(alice, home, flavour):
    file = flavour(small_net(2.0))

    made = await created(alice, file, buffers=sorted(BUFFERS))

    params = await alice.get(f"{URL}{made.model_id}/versions/0/params/")
    assert {name: array.tolist() for name, array in load(params.content).items()} == {
        name: array.tolist() for name, array in state_of(file.content).items()
    }
    archive = (await read(Model.objects.get, id=made.model_id)).archive_id
    assert store.path_of(archive).read_bytes() == file.content
    assert list((home / "tmp").iterdir()) == []


async def test_a_model_is_the_same_version_in_whatever_file_it_came(alice):
    files = [flavour(small_net(1.5)) for flavour in FLAVOURS.values()]
    files.append(file_of(state_of(files[0].content), BUFFERS))

    for file in files:
        await created(alice, file, buffers=sorted(BUFFERS))

    assert len(await read(lambda: set(ModelVersion.objects.values_list("blob_id")))) == 1


async def test_a_script_and_a_module_know_their_buffers_and_a_state_dict_does_not(alice):
    for flavour, known in (("script", True), ("module", True), ("state dict", False)):
        made = await created(alice, FLAVOURS[flavour](small_net()))

        record = shown(await alice.get(f"{URL}{made.model_id}/metadata/"), ModelMetadata)
        assert {array.name for array in record.arrays if array.kind == "buffer"} == (BUFFERS if known else set())
        assert bool(made.warning) is not known


@pytest.mark.parametrize("flavour", [FLAVOURS["script"], FLAVOURS["module"]], ids=["script", "module"])
async def test_the_order_of_parameters_is_remembered(alice, flavour):
    """It is not that of their names; SWAG's moments of older clients come in it."""
    net = torch.nn.Sequential(OrderedDict(z=torch.nn.Linear(2, 2), a=torch.nn.Linear(2, 2), m=torch.nn.Linear(2, 2)))
    net.m.weight = net.z.weight

    row = await read(Model.objects.get, id=(await created(alice, flavour(net))).model_id)

    assert row.param_order == [name for name, _ in net.named_parameters(remove_duplicate=False)]
    assert row.ties == [["m.weight", "z.weight"]]


async def test_the_newest_version_is_what_is_downloaded_and_at_first_that_is_the_file_itself(alice, flavour):
    file = flavour(small_net(2.0))
    made = await created(alice, file)

    response = await alice.get(f"{URL}{made.model_id}/")

    assert (response.status_code, response.content) == (200, file.content)
    assert response.headers["Content-Type"] == "application/octet-stream"
    assert response.headers["Content-Disposition"] == f'attachment; filename="model-{made.model_id}.pt"'
    assert response.headers["ETag"] == f'"{hashlib.sha256(file.content).hexdigest()}"'
    assert response.headers["Cache-Control"] == "private, no-cache", "this address names other bytes tomorrow"


@pytest.fixture
async def trained(alice, bob, make_training, flavour):
    """A model of torch after one round in which Bob has set every float to 5."""
    file = flavour(small_net(2.0))
    made = await created(alice, file, buffers=sorted(BUFFERS))
    model = await read(Model.objects.get, id=made.model_id)
    training = await call(lambda: start(make_training(bob, model=model)))
    update = file_of(state_of(pickled(filled(small_net(), 5.0)).content), BUFFERS)
    await upload_and_report(bob, await call(lease, bob), update)
    await call(settle, training)
    await call(add_up, training)
    return model, file


async def test_after_a_round_the_archive_has_its_numbers(alice, trained):
    model, file = trained

    response = await alice.get(f"{URL}{model.id}/")

    state = state_of(response.content)
    assert state.keys() == state_of(file.content).keys()
    assert {float(array.reshape(-1)[0]) for name, array in state.items() if "tracked" not in name} == {5.0}
    assert len(response.content) == len(file.content)
    assert response.headers["ETag"] != f'"{hashlib.sha256(file.content).hexdigest()}"'


async def test_an_earlier_version_can_be_asked_for(alice, trained):
    model, file = trained

    assert (await alice.get(f"{URL}{model.id}/?version=0")).content == file.content
    assert state_of((await alice.get(f"{URL}{model.id}/?version=1")).content)["3.bias"].tolist() == [5.0] * 3
    refused(await alice.get(f"{URL}{model.id}/?version=2"), 404, "not_found", "no version 2", "0 to 1")


async def test_what_comes_back_can_be_run(alice, bob, make_training):
    made = await created(alice, scripted(small_net(0.0)))
    model = await read(Model.objects.get, id=made.model_id)
    training = await call(lambda: start(make_training(bob, model=model)))
    update = file_of(state_of(pickled(filled(small_net(), 1.0)).content), BUFFERS)
    await upload_and_report(bob, await call(lease, bob), update)
    await call(settle, training)
    await call(add_up, training)

    net = torch.jit.load(io.BytesIO((await alice.get(f"{URL}{model.id}/")).content)).eval()
    assert torch.equal(net(torch.zeros(1, 1, 4, 4)), small_net(1.0).eval()(torch.zeros(1, 1, 4, 4)))


async def test_a_copy_of_a_trained_model_is_downloaded_with_the_numbers_it_began_with(alice, trained):
    """Also when the original is gone, and with it the version that the copy's version 0 was made from."""
    model, _ = trained

    copied = await call(services.copy_model, model=model, now=timezone.now())
    assert state_of((await alice.get(f"{URL}{copied.id}/?version=0")).content)["3.bias"].tolist() == [5.0] * 3
    await call(Model.objects.filter(id=model.id).delete)
    again = await alice.get(f"{URL}{copied.id}/")

    assert state_of(again.content)["3.bias"].tolist() == [5.0] * 3
    assert copied.first_round == 1


@pytest.mark.parametrize("wanted", ["query", "accept", "accept x"])
async def test_safetensors_can_be_asked_for(alice, trained, wanted):
    model, _ = trained
    query = "?format=safetensors" if wanted == "query" else ""
    types = {"accept": "application/vnd.safetensors", "accept x": "application/x-safetensors, */*;q=0.1"}

    response = await alice.get(f"{URL}{model.id}/{query}", headers={"Accept": types.get(wanted, "*/*")})

    assert set(np.unique(load(response.content)["3.bias"])) == {5.0}
    assert response.headers["Content-Type"] == "application/vnd.safetensors"
    assert response.headers["Content-Disposition"] == f'attachment; filename="model-{model.id}.safetensors"'
    assert response.headers["ETag"] == f'"{hashlib.sha256(response.content).hexdigest()}"'
    assert "Accept" in response.headers["Vary"]


async def test_an_earlier_version_as_safetensors(alice, trained):
    model, _ = trained
    response = await alice.get(f"{URL}{model.id}/?format=safetensors&version=0")

    assert set(np.unique(load(response.content)["3.bias"])) == {2.0}


@pytest.mark.parametrize("accept", ["*/*", "application/octet-stream", "text/html,*/*;q=0.8", "application/json", ""])
async def test_whatever_an_older_client_accepts_it_gets_the_archive(alice, accept):
    file = pickled(small_net(2.0))
    made = await created(alice, file)

    response = await alice.get(f"{URL}{made.model_id}/", headers={"Accept": accept})

    assert (response.status_code, response.content) == (200, file.content)


async def test_with_a_model_what_was_rendered_of_it_goes(alice, trained, home):
    model, _ = trained
    await alice.get(f"{URL}{model.id}/")
    assert len(list((home / "rendered").iterdir())) == 1
    await alice.get(f"{URL}{model.id}/?format=safetensors")

    assert (await alice.delete(f"{URL}{model.id}/")).status_code == 200

    assert list((home / "rendered").iterdir()) == []


async def test_what_is_downloaded_again_continues_and_is_not_sent_twice(alice, trained):
    model, _ = trained
    whole = await alice.get(f"{URL}{model.id}/")
    etag = whole.headers["ETag"]

    part = await alice.get(f"{URL}{model.id}/", headers={"Range": "bytes=100-199", "If-Range": etag})
    assert (part.status_code, part.content) == (206, whole.content[100:200])
    assert (await alice.get(f"{URL}{model.id}/", headers={"If-None-Match": etag})).status_code == 304
    head = await alice.head(f"{URL}{model.id}/")
    assert (head.content, head.headers["Content-Length"]) == (b"", str(len(whole.content)))


# What a file may not be


NOT_MODELS = {
    "a tensor": (lambda: pickled(torch.zeros(3)), ["single tensor"]),
    "an optimizer's state": (lambda: pickled({"model": {"a": torch.zeros(1)}, "epoch": 3}), ["state dict"]),
    "another object": (lambda: pickled([1, 2, 3]), ["archive holds"]),
    "a frozen script": (
        lambda: pickled_frozen(small_net().eval()),
        ["torch.jit.freeze"],
    ),
    "a legacy file": (lambda: legacy(small_net()), ["before torch 1.6", "save it again"]),
    "not a number": (lambda: pickled(small_net(float("nan"))), ["nan"]),
    "truth values": (lambda: pickled({"mask": torch.zeros(3, dtype=torch.bool)}), ["'mask'", "Bool"]),
    "cut off": (lambda: cut(pickled(small_net())), []),
}


def pickled_frozen(net):
    stream = io.BytesIO()
    torch.jit.save(torch.jit.freeze(torch.jit.script(net)), stream)
    return type(pickled(net))(stream.getvalue())


def legacy(net):
    stream = io.BytesIO()
    torch.save(net, stream, _use_new_zipfile_serialization=False)
    return type(pickled(net))(stream.getvalue())


def cut(file):
    return type(file)(file.content[:-100])


@pytest.mark.parametrize("make", [make for make, _ in NOT_MODELS.values()], ids=NOT_MODELS)
async def test_what_is_no_model_is_refused_with_the_reason_and_leaves_nothing_behind(alice, make):
    words = next(words for made, words in NOT_MODELS.values() if made is make)
    form = {"data": {"name": "net"}, "files": {"model_file": ("m.pt", make().content)}}

    async with nothing_changes():
        response = await alice.post(URL, **form)
        assert response.status_code == 422, response.text
        assert response.json()["code"] in ("bad_model_file", "not_finite")
        for word in words:
            assert word in response.json()["detail"]


@pytest.mark.parametrize("make", [harmful, bare_harm, harm_in_zip])
async def test_a_pickle_that_would_write_a_file_writes_none(alice, tmp_path, make):
    target = tmp_path / "written"
    form = {"data": {"name": "net"}, "files": {"model_file": ("m.pt", make(target).content)}}

    response = await alice.post(URL, **form)

    assert response.status_code in (201, 422), "the module itself is fine: what hangs on it is not looked at"
    assert not target.exists()
