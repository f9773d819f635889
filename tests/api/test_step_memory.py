"""What server steps remember: kept as long as a round may begin from its version, checked, and never guessed."""

from datetime import timedelta
from threading import Event

import numpy as np
import pytest
from django.utils import timezone
from safetensors.numpy import load

from hansa.server.blobs import services as blobs
from hansa.server.blobs import store
from hansa.server.blobs.models import Blob
from hansa.server.doctor import blobs as doctor
from hansa.server.lifecycle.bridge import call, read
from hansa.server.registry.models import ModelVersion
from hansa.server.trainings import dependants, mending, stepping
from hansa.server.trainings.models import Round, Training
from hansa.server.trainings.services import aggregation, memory, rounds, trainings
from support.damage import cut_off, flip_a_bit, take_away
from support.federation import ended, orchestrating, take, until
from support.work import (
    BUFFERS,
    add_up,
    lease,
    settle,
    small_params,
    start,
    store_model,
    update,
    upload_and_report,
)

pytestmark = pytest.mark.usefixtures("soon")

MOMENTUM = {"kind": "momentum", "server_lr": 0.5, "momentum": 0.5}
ADAM = {"kind": "adam", "server_lr": 0.25}


async def a_round(training, clients, add):
    """Everybody sends the model moved by `add`, and the round has its version."""
    await call(settle, training)
    for client in clients:
        await upload_and_report(client, await call(lease, client), update(add))
    await call(settle, training)
    await call(add_up, training)


async def remembered(training):
    """What stands with each version, by its number."""
    versions = ModelVersion.objects.filter(model_id=training.model_id).order_by("number")
    return dict(await read(lambda: list(versions.values_list("number", "state_id"))))


async def made(make_training, clients, adds, step=MOMENTUM, rounds=9, **plan):
    """A training of that many rounds, and these of them done."""
    training = await call(lambda: start(make_training(*clients, rounds=rounds, server_step=step, **plan)))
    for add in adds:
        await a_round(training, clients, add)
    return training


# Kept and let go


async def test_it_is_a_vector_of_float64_for_each_name_of_the_state(bob, carol, make_training):
    training = await made(make_training, (bob, carol), [2.0], ADAM)

    vectors = load(store.path_of((await remembered(training))[1]).read_bytes())

    assert {name: (array.dtype, array.shape) for name, array in vectors.items()} == dict.fromkeys(
        ("m", "v"), (np.float64, (9,))
    )
    np.testing.assert_allclose(vectors["m"], 0.1 * 2.0)
    np.testing.assert_allclose(vectors["v"], 0.99 * 1e-6 + 0.01 * 4.0)


async def test_it_stands_with_the_newest_version_and_the_one_before(bob, carol, make_training):
    training = await made(make_training, (bob, carol), [2.0, 3.0, 5.0])

    kept = await remembered(training)

    assert {number for number, digest in kept.items() if digest is not None} == {2, 3}


async def test_what_no_round_can_need_is_collected_and_nothing_else(bob, carol, make_training):
    training = await made(make_training, (bob, carol), [2.0, 3.0])
    before = await remembered(training)
    await a_round(training, (bob, carol), 5.0)

    await blobs.collect(before=timezone.now() + timedelta(seconds=1))

    assert not store.path_of(before[1]).exists()
    assert store.path_of(before[2]).exists()
    assert store.path_of((await remembered(training))[3]).exists()


@pytest.mark.parametrize("end", ["completed", "cancelled", "deleted"])
async def test_with_the_training_all_of_it_ends(bob, carol, make_training, end):
    training = await made(make_training, (bob, carol), [2.0, 3.0], rounds=2 if end == "completed" else 9)
    if end == "cancelled":
        await call(trainings.cancel, training_id=training.id, now=timezone.now())
    elif end == "deleted":
        await call(trainings.delete, training_id=training.id, now=timezone.now())

    assert set((await remembered(training)).values()) == {None}


async def test_a_paused_or_failed_training_keeps_it_for_it_may_be_resumed(bob, carol, make_training):
    training = await made(make_training, (bob, carol), [2.0])
    await call(trainings.pause, training_id=training.id)
    await read(Training.objects.filter(id=training.id).update, status="error", reason="for a test")

    assert (await remembered(training))[1] is not None


async def test_steps_that_remember_nothing_leave_nothing(bob, carol, make_training):
    for step in ({"kind": "identity"}, {"kind": "sgd", "server_lr": 0.5}):
        training = await made(make_training, (bob, carol), [2.0, 3.0], step, rounds=2)
        assert set((await remembered(training)).values()) == {None}
        await call(training.delete)
        await call(ModelVersion.objects.filter(model_id=training.model_id, number__gt=0).delete)


async def test_an_attempt_that_comes_to_nothing_leaves_nothing(bob, carol, make_training):
    training = await made(make_training, (bob, carol), [2.0])
    before = await remembered(training)
    await call(settle, training)
    for client in (bob, carol):
        await upload_and_report(client, await call(lease, client), update(3.0))
    await call(settle, training)
    job = await call(aggregation.claim, training_id=training.id, now=timezone.now())

    now = timezone.now()
    assert await call(rounds.give_up, training_id=training.id, claim=job.claim, reason="for a test", now=now)

    assert await remembered(training) == before


async def test_a_training_over_a_trained_model_begins_anew(alice, bob, carol, make_training):
    first = await made(make_training, (bob, carol), [2.0, 3.0], rounds=2)
    model = await read(lambda: Training.objects.select_related("model").get(id=first.id).model)
    again = await call(lambda: start(make_training(bob, carol, model=model, server_step=MOMENTUM)))
    await call(settle, again)
    for client in (bob, carol):
        await upload_and_report(client, await call(lease, client), update(3.0))
    await call(settle, again)

    job = await call(aggregation.claim, training_id=again.id, now=timezone.now())

    assert again.model_id != first.model_id
    assert (job.step.momentum, job.memory) == (0.5, None)


async def versions(training):
    """Of each version its digest."""
    rows = ModelVersion.objects.filter(model_id=training.model_id).order_by("number")
    return await read(lambda: list(rows.values_list("blob_id", flat=True)))


async def test_a_server_that_dies_between_files_and_rows_goes_on_with_the_same_bits(
    alice, bob, carol, make_training, tmp_path
):
    like = await call(store_model, alice, small_params(), BUFFERS, tmp_path)
    undisturbed = await made(make_training, (bob, carol), [2.0, 3.0, 5.0], ADAM, rounds=3, model=like)
    training = await made(make_training, (bob, carol), [2.0], ADAM, rounds=4)
    await call(settle, training)
    for client in (bob, carol):
        await upload_and_report(client, await call(lease, client), update(3.0))
    await call(settle, training)
    await call(lambda: die_before_the_commit(training))
    await call(aggregation.drop_claims)  # as every start does
    await call(add_up, training)
    await a_round(training, (bob, carol), 5.0)

    assert await versions(training) == await versions(undisturbed)


def die_before_the_commit(training):
    """Both files are in the store, and no row knows them."""
    job = aggregation.claim(training_id=training.id, now=timezone.now())
    with stepping.files_for(job) as files:
        for digest, path in files.by_digest(stepping.compute(job, files, Event())).items():
            store.place(path, digest)


# Lost and damaged


@pytest.mark.parametrize("harm", [flip_a_bit, cut_off, take_away])
async def test_where_it_is_damaged_the_round_is_begun_anew_from_the_version_before(
    alice, bob, carol, make_training, harm
):
    training = await made(make_training, (bob, carol), [2.0, 3.0], rounds=3)
    lost = (await remembered(training))[2]
    await call(settle, training)
    for client in (bob, carol):
        await upload_and_report(client, await call(lease, client), update(5.0))
    await call(settle, training)
    harm(lost)

    async with orchestrating():
        await until(alice, training, lambda record: record["version"] == 1)
        for add in (3.0, 5.0):
            for client in (bob, carol):
                await upload_and_report(client, (await take(client))["id"], update(add))
        record = await ended(alice, training)

    assert (record["status"], record["version"]) == ("completed", 3)
    (anew,) = await read(lambda: list(Round.objects.filter(training=training, number=2, state="abandoned")))
    assert "what the server step remembers at version 2 is lost" in anew.reason
    assert lost in anew.reason
    third = await read(ModelVersion.objects.get, model_id=training.model_id, number=3)
    assert load(store.path_of(third.blob_id).read_bytes())["fc.bias"].tolist() == [expected([2.0, 3.0, 5.0])] * 3


def expected(adds):
    """Where a param is that began at 0, by momentum."""
    x = v = 0.0
    for add in adds:
        v = 0.5 * v + (add - x)
        x += 0.5 * v
    return x


async def test_where_that_is_damaged_as_well_the_training_stops_and_goes_on_once_the_file_is_back(
    alice, bob, carol, make_training
):
    training = await made(make_training, (bob, carol), [2.0, 3.0], rounds=3)
    kept = await remembered(training)
    whole = store.path_of(kept[2]).read_bytes()
    flip_a_bit(kept[1])
    flip_a_bit(kept[2])

    await mending.attend(kept[2])

    record = (await alice.get(f"/api/trainings/{training.id}/")).json()
    assert record["status"] == "error"
    assert "What the server step remembers at version 2 of the model is lost" in record["reason"]
    assert f"Put the file blobs/{kept[2][:2]}/{kept[2][2:4]}/{kept[2]} back" in record["reason"]
    assert "create a training over the model, whose server step begins anew" in record["reason"]

    store.path_of(kept[2]).write_bytes(whole)
    assert (await alice.post(f"/api/trainings/{training.id}/resume/")).status_code == 202
    await a_round(training, (bob, carol), 5.0)
    third = await read(ModelVersion.objects.get, model_id=training.model_id, number=3)
    assert load(store.path_of(third.blob_id).read_bytes())["fc.bias"].tolist() == [expected([2.0, 3.0, 5.0])] * 3


async def test_it_goes_back_no_further_than_it_remembers(alice, bob, carol, make_training):
    training = await made(make_training, (bob, carol), [2.0, 3.0, 5.0])
    versions = await read(lambda: list(ModelVersion.objects.filter(model_id=training.model_id).order_by("number")))

    for version in (versions[3], versions[2]):
        flip_a_bit(version.blob_id)
        await mending.attend(version.blob_id)

    record = (await alice.get(f"/api/trainings/{training.id}/")).json()
    assert record["status"] == "error"
    assert "Version 2 of the model is lost" in record["reason"]
    assert "version 1 before it is damaged as well, or what its server step remembers" in record["reason"]


async def test_it_is_computed_again_where_the_updates_are_kept(bob, carol, make_training):
    training = await made(make_training, (bob, carol), [2.0, 3.0], ADAM, keep_updates=9)
    kept = await remembered(training)
    whole = store.path_of(kept[2]).read_bytes()
    flip_a_bit(kept[2])

    await mending.attend(kept[2])

    assert store.path_of(kept[2]).read_bytes() == whole
    assert await remembered(training) == kept
    assert not list((store.home() / "tmp").iterdir())


async def test_what_was_let_go_too_early_stops_the_training_with_the_reason(alice, bob, carol, make_training):
    training = await made(make_training, (bob, carol), [2.0])
    await call(settle, training)
    for client in (bob, carol):
        await upload_and_report(client, await call(lease, client), update(3.0))
    await call(settle, training)
    await call(memory.let_go, training.model_id)

    async with orchestrating():
        record = await ended(alice, training)

    assert record["status"] == "error"
    assert "What the server step remembers at version 1 is no longer kept" in record["reason"]
    assert "Create a training over the model" in record["reason"]


async def test_it_is_looked_after_as_what_a_training_needs_and_the_doctor_tells_what_it_is(bob, carol, make_training):
    training = await made(make_training, (bob, carol), [2.0, 3.0])
    kept = await remembered(training)
    flip_a_bit(kept[2])

    (told,) = await call(
        lambda: [
            finding
            for finding in doctor.blobs(quick=False, set_aside=False, progress=lambda done, total: None)
            if kept[2] in finding.seen
        ]
    )

    assert kept[2] in await read(dependants.indispensable)
    assert await read(dependants.having, kept[2]) == [training.id]
    assert "what the server step remembers at version 2 of model" in told.seen
    assert "hansa doctor --set-aside" in told.do
    assert await read(Blob.objects.filter(sha256=kept[2]).exists)
