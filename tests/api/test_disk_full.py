"""A full disk is 507 with the reason; nothing half-written stays, and it works again once there is room."""

import numpy as np
import pytest
from django.db import OperationalError

from hansa.server.blobs import store
from hansa.server.lifecycle.bridge import read
from hansa.server.trainings.models import Task, Training
from support.answers import nothing_changes, refused
from support.work import file_of, lease, start, store_model

PARAMS = {"w": np.arange(100_000, dtype=np.float32)}
"""400 kB: on a disk of 1 MiB there is room for two of them, not for three."""


@pytest.fixture
def task(small_disk, alice, bob, carol, make_training_of, tmp_path):
    training = make_training_of(store_model(alice, PARAMS, frozenset(), small_disk.folder), bob, carol)
    start(training)
    return lease(bob)


@pytest.fixture
def make_training_of(small_disk, make_training):
    return lambda model, *clients: make_training(*clients, model=model)


@pytest.fixture
def file():
    return file_of({"w": PARAMS["w"] + np.float32(1)}, frozenset())


def url(task, file):
    return f"/api/tasks/{task.id}/update/{file.digest}/"


async def test_an_update_that_does_not_fit_on_the_disk(bob, task, file, small_disk):
    small_disk.resize(600_000)

    async with nothing_changes():
        response = await bob.put(url(task, file), content=file.content)
        refused(response, 507, "insufficient_storage", "disk is full", "nothing was stored", "try again")
    assert (await bob.head(url(task, file))).headers["Upload-Offset"] == "0"

    small_disk.resize(2**20)
    assert (await bob.put(url(task, file), content=file.content)).status_code == 200
    assert store.path_of(file.digest).read_bytes() == file.content


async def test_the_task_goes_on_while_the_disk_is_full(bob, task, file, small_disk):
    small_disk.resize(600_000)
    await bob.put(url(task, file), content=file.content)

    assert (await bob.post(f"/api/tasks/{task.id}/heartbeat/")).json()["proceed"] is True
    assert (await read(Task.objects.get, id=task.id)).state == "leased"


async def test_a_model_that_does_not_fit_on_the_disk(alice, task, small_disk):
    """The form is spooled, then taken apart: whichever of the two hits the end, nothing stays."""
    large = file_of({"w": np.arange(100_000, dtype=np.float32) * np.float32(3)}, frozenset())
    form = {"data": {"name": "large"}, "files": {"model_file": ("m.safetensors", large.content)}}
    for size in (600_000, 1_000_000):
        small_disk.resize(size)
        async with nothing_changes():
            refused(await alice.post("/api/models/", **form), 507, "insufficient_storage")

    small_disk.resize(4 * 2**20)
    assert (await alice.post("/api/models/", **form)).status_code == 201


async def test_a_database_that_cannot_grow_is_a_full_disk_as_well(alice, training, monkeypatch):
    """SQLite says it in words: there is no errno to look at."""

    def full(**_):
        raise OperationalError("database or disk is full")

    monkeypatch.setattr("hansa.server.trainings.services.trainings.start", full)

    async with nothing_changes():
        refused(await alice.post(f"/api/trainings/{training.id}/start/"), 507, "insufficient_storage")
    assert (await read(Training.objects.get, id=training.id)).status == "initial"
