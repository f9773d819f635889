"""What the records of models say: rounds, statistics, moments; and what it costs to list many of them."""

import base64
import hashlib
import io

import numpy as np
import pytest
import torch
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from safetensors.numpy import load

from hansa.protocol.models import Model as ModelRecord
from hansa.protocol.models import ModelCreated, ModelMetadata
from hansa.server.blobs import services as blobs
from hansa.server.blobs import store
from hansa.server.lifecycle.bridge import call
from hansa.server.registry import records
from hansa.server.registry.models import Model, ModelVersion
from hansa.server.registry.services import record_run
from hansa.server.registry.statistics import Executed, ExecutedLayer
from hansa.server.trainings.models import Round
from support.answers import refused, shown
from support.torchfiles import FLAVOURS, pickled, scripted, small_net
from support.work import add_up, file_of, lease, settle, start, store_model, update, upload_and_report

URL = "/api/models/"


async def metadata(person, model_id):
    return shown(await person.get(f"{URL}{model_id}/metadata/"), ModelMetadata)


async def created(person, file, *shape):
    parts = [("name", (None, "net")), ("model_file", ("net.pt", file.content))]
    parts += [("input_shape", (None, text)) for text in shape]
    return shown(await person.post(URL, files=parts), ModelCreated, 201).model_id


# Rounds


async def test_the_round_counts_what_is_behind_the_model(alice, bob, carol, model, started):
    model.first_round = 4
    await call(model.save)
    assert (await metadata(alice, model.id)).round == 4, "the first round is open"

    for client in (bob, carol):
        await upload_and_report(client, await call(lease, client), update())
    await call(settle, started)
    assert (await metadata(alice, model.id)).round == 4, "it is adding up"
    await call(add_up, started)

    record = await metadata(alice, model.id)
    assert (record.round, record.version) == (5, 1)
    (listed,) = shown(await alice.get(URL), list[ModelRecord])
    assert (listed.round, listed.version) == (5, 1)


@pytest.mark.parametrize(
    ("state", "behind"),
    [
        ("collecting", 0),
        ("aggregating", 0),
        ("abandoned", 0),
        ("aggregated", 1),
        ("swag", 1),
        ("combining", 1),
        ("combined", 1),
        ("evaluating", 1),
        ("done", 1),
    ],
)
async def test_a_round_is_behind_as_soon_as_its_version_is_there_or_it_was_handed_on(
    alice, model, started, state, behind
):
    await call(Round.objects.filter(training=started).update, state=state, accepted=ACCEPTED.get(state, []))

    assert (await metadata(alice, model.id)).round == behind


ACCEPTED = {"collecting": None}
"""A round that is open has no accepted list."""


# Statistics


@pytest.mark.parametrize("flavour", ["script", "module"])
async def test_statistics_are_told_in_the_words_of_torchinfo(alice, flavour):
    net = small_net()
    net[0].weight.requires_grad_(False)

    stats = (await metadata(alice, await created(alice, FLAVOURS[flavour](net), "None", "1", "4", "4"))).stats

    assert (stats.input_size, stats.total_input) == ([[1, 1, 4, 4]], 64)
    assert (stats.total_params, stats.trainable_params) == (18 + 4 + 27, 4 + 27)
    assert stats.total_param_bytes == 4 * stats.total_params
    assert (stats.total_mult_adds, stats.total_output_bytes) == (None, None), "only a run would tell"
    assert [(layer.class_name, layer.depth, layer.depth_index, layer.var_name) for layer in stats.summary_list] == [
        ("Sequential", 0, 1, "Sequential"),
        ("Conv2d", 1, 1, "0"),
        ("BatchNorm2d", 1, 2, "1"),
        ("Flatten", 1, 3, "2"),
        ("Linear", 1, 4, "3"),
    ]
    linear = stats.summary_list[-1]
    assert (linear.is_leaf_layer, linear.num_params, linear.trainable_params, linear.param_bytes) == (True, 27, 27, 108)
    assert (linear.input_size, linear.output_size, linear.macs, linear.executed) == (None, None, None, None)


async def test_what_a_run_told_stands_in_the_statistics(alice):
    model_id = await created(alice, scripted(small_net()), "None", "1", "4", "4")
    told = Executed(
        {
            "0": ExecutedLayer((1, 1, 4, 4), (1, 2, 2, 2), 72),
            "1": ExecutedLayer((1, 2, 2, 2), (1, 2, 2, 2), 4),
            "3": ExecutedLayer((1, 8), (1, 3), 24),
        }
    )
    await call(record_run, model_id=model_id, executed=told)
    await call(record_run, model_id=model_id, executed=Executed({}))

    stats = (await metadata(alice, model_id)).stats

    assert stats.total_mult_adds == 72 + 4 + 24
    assert stats.total_output_bytes == 2 * 4 * (8 + 8 + 3), "torchinfo counts them twice, for the gradients"
    convolution, flatten = stats.summary_list[1], stats.summary_list[3]
    assert (convolution.executed, convolution.input_size, convolution.output_size) == (True, [1, 1, 4, 4], [1, 2, 2, 2])
    assert (convolution.output_bytes, convolution.macs) == (32, 72)
    assert (flatten.executed, flatten.output_size, flatten.macs) == (None, None, None)


async def test_there_are_no_statistics_without_a_shape_or_without_layers(alice):
    shaped = ("None", "1", "4", "4")
    for file, shape in (
        (pickled(small_net()), ()),
        (pickled(small_net().state_dict()), shaped),
        (file_of({"w": np.zeros(3, np.float32)}, frozenset()), shaped),
    ):
        assert (await metadata(alice, await created(alice, file, *shape))).stats is None


async def test_statistics_are_known_without_looking_at_a_file(alice):
    model_id = await created(alice, scripted(small_net()), "1", "1", "4", "4")
    for path in store.files():
        path.unlink()

    assert (await metadata(alice, model_id)).stats.total_params == 49


async def test_a_copy_has_the_statistics_of_its_original(alice, bob, make_training):
    model_id = await created(alice, scripted(small_net()), "1", "1", "4", "4")
    model = await call(Model.objects.get, id=model_id)
    await call(make_training, bob, model=model)
    copied = (await call(make_training, bob, model=model)).model_id

    assert (await metadata(alice, copied)).stats == (await metadata(alice, model_id)).stats


# Moments


def keep_moments(version, first, second):
    file = file_of({"first_moment": first, "second_moment": second}, frozenset())
    with store.BlobFile() as blob:
        blob.write(file.content)
        digests = blob.finish()
    store.place(blob.path, digests.sha256)
    version.moments = blobs.record(digests=digests, media_type=blobs.SAFETENSORS, now=timezone.now())
    version.save()


async def test_the_newest_moments_are_shown_as_tensors_of_torch(alice, model):
    first, second = np.arange(9, dtype=np.float32), np.ones(9, np.float32)
    await call(lambda: keep_moments(ModelVersion.objects.get(model=model), first, second))

    record = await metadata(alice, model.id)

    for shown_as, wanted in ((record.swag_first_moment, first), (record.swag_second_moment, second)):
        tensor = torch.load(io.BytesIO(base64.b64decode(shown_as)), weights_only=True)
        assert np.array_equal(np.asarray(tensor), wanted)
    (listed,) = shown(await alice.get(URL), list[ModelRecord])
    assert (listed.swag_first_moment, listed.swag_second_moment) == (None, None)


async def test_moments_of_any_size_can_be_fetched_as_a_version_can(alice, mallory, model):
    first, second = np.arange(300_000, dtype=np.float64), np.ones(300_000)
    await call(lambda: keep_moments(ModelVersion.objects.get(model=model), first, second))
    url = f"{URL}{model.id}/versions/0/moments/"

    whole = await alice.get(url)
    arrays = load(whole.content)
    assert arrays.keys() == {"first_moment", "second_moment"}
    np.testing.assert_array_equal(arrays["first_moment"], first)
    np.testing.assert_array_equal(arrays["second_moment"], second)
    assert whole.headers["ETag"] == f'"{hashlib.sha256(whole.content).hexdigest()}"'
    assert (whole.headers["Content-Type"], whole.headers["Accept-Ranges"]) == ("application/vnd.safetensors", "bytes")

    part = await alice.get(url, headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, whole.content[100:200])
    assert (await alice.get(url, headers={"If-None-Match": whole.headers["ETag"]})).status_code == 304
    head = await alice.head(url)
    assert (head.status_code, head.content, head.headers["Content-Length"]) == (200, b"", str(len(whole.content)))
    refused(await mallory.get(url), 404, "not_found")


async def test_a_version_without_moments_says_so_and_which_have_some(alice, bob, carol, model, started):
    url = f"{URL}{model.id}/versions/"
    refused(await alice.get(f"{url}0/moments/"), 404, "not_found", "Version 0 has no SWAG moments", "plan with SWAG")
    for client in (bob, carol):
        await upload_and_report(client, await call(lease, client), update())
    await call(settle, started)
    await call(add_up, started)
    vector = np.ones(9, np.float32)
    await call(lambda: keep_moments(ModelVersion.objects.get(model=model, number=1), vector, vector))

    refused(await alice.get(f"{url}0/moments/"), 404, "not_found", "There are moments of version 1.")
    refused(await alice.get(f"{url}2/moments/"), 404, "not_found", "0 to 1")


async def test_large_moments_are_not_shown(alice, model):
    large = np.zeros(300_000, np.float32)
    await call(lambda: keep_moments(ModelVersion.objects.get(model=model), large, large))

    record = await metadata(alice, model.id)
    assert (record.swag_first_moment, record.swag_second_moment) == (None, None)


# Many


@pytest.fixture
def queries_to_list(alice):
    def count():
        with CaptureQueriesContext(connection) as queries:
            listed = records.records(alice.user)
        return len(listed), len(queries)

    return count


def test_a_list_takes_as_many_queries_for_fifty_models_as_for_one(
    alice, bob, queries_to_list, make_training, tmp_path, model
):
    few = queries_to_list()
    for number in range(50):
        one = store_model(alice, {"w": np.full(3, number, np.float32)}, frozenset(), tmp_path)
        if number % 5 == 0:
            start(make_training(bob, model=one))

    assert few[0] == 1
    # The last one is for local models, of which there are none.
    assert queries_to_list() == (51, few[1])
    assert few[1] <= 5


async def test_a_list_does_not_look_at_files(alice, model):
    for path in store.files():
        path.unlink()

    assert len(shown(await alice.get(URL), list[ModelRecord])) == 1
