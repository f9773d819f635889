"""Files of torch, pipelines and rendered archives on a disk that is full: 507, and nothing half-written stays."""

import pytest
import torch
from django.utils import timezone

from hansa.server.blobs import store
from hansa.server.lifecycle.bridge import call
from hansa.server.registry import services
from hansa.server.registry.creation import NewModel
from hansa.server.registry.ingest import ingest
from support.answers import nothing_changes, refused
from support.torchfiles import filled, pickled, state_of

URL = "/api/models/"


def net(value=1.0):
    """400 kB."""
    return filled(torch.nn.Linear(100, 1000, bias=False), value)


def form():
    return {"data": {"name": "net"}, "files": {"model_file": ("net.pt", pickled(net()).content)}}


@pytest.mark.parametrize("room", [300_000, 600_000, 795_000])
async def test_a_model_of_torch_that_does_not_fit(alice, small_disk, room):
    """The form is spooled, its file taken out, the canonical one written beside: whichever meets the end."""
    small_disk.resize(room)
    async with nothing_changes():
        refused(await alice.post(URL, **form()), 507, "insufficient_storage", "nothing was stored")

    small_disk.resize(4 * 2**20)
    assert (await alice.post(URL, **form())).status_code == 201


async def test_a_preprocessing_that_does_not_fit(alice, small_disk, model):
    small_disk.resize(500_000)
    url = f"{URL}{model.id}/preprocessing/"
    files = {"model_preprocessing_file": ("pre.pt", pickled(net()).content)}
    async with nothing_changes():
        refused(await alice.post(url, files=files), 507, "insufficient_storage")

    small_disk.resize(4 * 2**20)
    assert (await alice.post(url, files=files)).status_code == 202


async def test_an_archive_that_cannot_be_rendered_for_want_of_room(alice, small_disk, tmp_path):
    small_disk.resize(2 * 2**20)
    model = await call(copy_with_other_numbers, alice, tmp_path)
    small_disk.resize(1_300_000)
    async with nothing_changes():
        refused(await alice.get(f"{URL}{model.id}/"), 507, "insufficient_storage")
        assert (await alice.get(f"{URL}{model.id}/?format=safetensors")).status_code == 200

    small_disk.resize(4 * 2**20)
    assert state_of((await alice.get(f"{URL}{model.id}/")).content)["weight"].max() == 2.0


def copy_with_other_numbers(alice, tmp_path):
    """A model whose archive is not what its version holds: 1.2 MB in the store."""
    made = []
    for value in (1.0, 2.0):
        path = tmp_path / "net.pt"
        path.write_bytes(pickled(net(value)).content)
        ingested = ingest(path, buffers=None)
        store.place(ingested.file, ingested.digests.sha256)
        if value == 1.0:
            target = store.path_of(ingested.archive.sha256)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
        made.append(
            services.create_model(owner=alice.user, said=NewModel(name="net"), ingested=ingested, now=timezone.now())
        )
    first, second = made
    second.archive_id = first.archive_id
    second.archive_params = first.archive_params
    second.save()
    return second
