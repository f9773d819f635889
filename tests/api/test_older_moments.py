"""POST /api/models/<id>/swag/: SWAG moments as older clients send them. They take turns as updates do."""

import asyncio

import numpy as np
import pytest
import torch
from safetensors.numpy import load

from hansa.server.blobs import store
from hansa.server.lifecycle.bridge import call, read
from hansa.server.registry.models import Metric
from hansa.server.trainings.models import Round, Task, Update
from hansa.server.trainings.services import trainings
from support.answers import nothing_changes, refused
from support.exchange import Exchange
from support.older import MOMENTS_ACCEPTED, MakesAFolder, Small, pickled, scripted, send_moments
from support.work import add_up, lease, settle, start, update, upload_and_report

P = 9


def moments(mean: float = 0.5, spread: float = 0.25, length: int = P, dtype: torch.dtype = torch.float32):
    """Two saved vectors: the mean of some weights, and of their squares."""
    first = torch.full((length,), mean, dtype=dtype) + torch.arange(length)
    return pickled(first), pickled(first**2 + spread)


async def accepted(client, model, first, second, **fields):
    answer = await send_moments(client, model, first, second, **fields)
    assert (answer.status_code, answer.json()) == (201, MOMENTS_ACCEPTED), answer.text


async def task_of(client):
    return await read(Task.objects.select_related("update").get, kind="swag", participation__client=client.user)


@pytest.fixture
async def in_swag(make_training, bob, carol):
    """A training of one round whose version Bob and Carol are asked to send moments around."""
    training = await call(lambda: start(make_training(bob, carol, uncertainty={"method": "swag"})))
    for client, add in ((bob, 1.0), (carol, 4.0)):
        await upload_and_report(client, await call(lease, client), update(add))
    await call(settle, training)
    await call(add_up, training)
    assert (await read(Round.objects.get)).state == "swag"
    return training


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
async def test_moments_become_the_result_of_the_task(bob, in_swag, dtype):
    await accepted(bob, in_swag.model_id, *moments(dtype=dtype), sample_size=12)

    task = await task_of(bob)
    assert (task.state, task.update.num_examples) == ("reported", 12)
    kept = load(store.path_of(task.update.digest).read_bytes())
    np.testing.assert_array_equal(kept["first_moment"], np.arange(P) + 0.5)
    np.testing.assert_array_equal(kept["second_moment"], (np.arange(P) + 0.5) ** 2 + 0.25)


async def test_they_are_weighted_by_their_examples_and_are_no_metrics(alice, bob, carol, in_swag):
    await accepted(bob, in_swag.model_id, *moments(), sample_size=30)
    await accepted(carol, in_swag.model_id, *moments(1.5), sample_size=10)
    await call(settle, in_swag)

    row = await read(Round.objects.get)
    assert (row.state, [weight for _, _, weight in row.moments_accepted]) == ("combining", [30, 10])
    assert (await alice.get(f"/api/models/{in_swag.model_id}/metrics/")).json() == [
        row for row in (await alice.get(f"/api/models/{in_swag.model_id}/metrics/")).json() if row["key"] == "loss"
    ]
    assert set(await read(lambda: list(Metric.objects.values_list("key", flat=True)))) == {"loss"}


async def test_two_clients_may_send_at_the_same_time(bob, carol, in_swag):
    await asyncio.gather(accepted(bob, in_swag.model_id, *moments()), accepted(carol, in_swag.model_id, *moments(1.5)))
    await call(settle, in_swag)

    assert (await read(Round.objects.get)).state == "combining"


async def test_the_same_moments_again_are_accepted_again_and_count_once(bob, carol, in_swag):
    first, second = moments()
    await accepted(bob, in_swag.model_id, first, second)
    async with nothing_changes():
        await accepted(bob, in_swag.model_id, first, second)
    await accepted(carol, in_swag.model_id, first, second)
    await call(settle, in_swag)

    async with nothing_changes():
        await accepted(bob, in_swag.model_id, first, second)


async def test_of_different_moments_the_first_count(bob, in_swag):
    await accepted(bob, in_swag.model_id, *moments())

    async with nothing_changes():
        refused(await send_moments(bob, in_swag.model_id, *moments(1.5)), 409, "digest_conflict")


async def test_sent_twice_at_once_they_count_once(bob, in_swag):
    await asyncio.gather(*(accepted(bob, in_swag.model_id, *moments()) for _ in range(4)))

    assert await read(Update.objects.filter(task__kind="swag").count) == 1


async def test_a_round_that_does_not_ask_for_moments_refuses_them(bob, started):
    async with nothing_changes():
        answer = await send_moments(bob, started.model_id, *moments(), round=0)
        refused(answer, 409, "round_closed", "takes no moments", "collecting")


async def test_moments_of_another_round_are_refused(bob, in_swag):
    async with nothing_changes():
        for number in (0, 2):
            refused(
                await send_moments(bob, in_swag.model_id, *moments(), round=number), 409, "round_closed", "in round 1"
            )


async def test_late_moments_are_told_where_the_training_is(bob, carol, in_swag):
    for client in (bob, carol):
        task = await call(lease, client)
        await client.post(f"/api/tasks/{task.id}/release/", json={"reason": "no memory", "failed": True})
    await call(settle, in_swag)

    async with nothing_changes():
        refused(await send_moments(bob, in_swag.model_id, *moments()), 409, "wrong_state", "completed")


@pytest.mark.parametrize(
    ("first", "second", "code", "words"),
    [
        (moments()[0], moments(length=8)[1], "spec_mismatch", ["'second_moment'", "(8,)", "(9,)"]),
        (moments(length=10)[0], moments()[1], "spec_mismatch", ["'first_moment'", "(10,)"]),
        (pickled(torch.ones(3, 3)), moments()[1], "spec_mismatch", ["(3, 3)"]),
        (pickled(torch.ones(P, dtype=torch.int64)), moments()[1], "spec_mismatch", ["int64"]),
        (moments()[0], pickled(torch.full((P,), -1.0)), "bad_model_file", ["never negative"]),
        (moments()[0], pickled(torch.zeros(P)), "bad_model_file", ["square of the mean"]),
        (moments()[0], pickled(torch.full((P,), float("nan"))), "not_finite", ["'second_moment'"]),
        (pickled(Small()), moments()[1], "bad_model_file", ["one tensor"]),
        (scripted(Small()), moments()[1], "bad_model_file", ["one tensor"]),
        (b"", moments()[1], "bad_model_file", []),
        (b"hello", moments()[1], "bad_model_file", []),
    ],
    ids=["short", "long", "matrix", "whole", "negative", "below", "nan", "module", "script", "empty", "text"],
)
async def test_what_cannot_be_moments_of_the_model_is_refused_and_the_right_ones_may_follow(
    bob, in_swag, first, second, code, words
):
    async with nothing_changes():
        refused(await send_moments(bob, in_swag.model_id, first, second), 400, code, *words)

    await accepted(bob, in_swag.model_id, *moments())


@pytest.mark.parametrize("place", [0, 1])
async def test_a_pickle_that_would_act_is_read_and_not_obeyed(bob, in_swag, tmp_path, place):
    trap, files = tmp_path / "trap", list(moments())
    files[place] = pickled(MakesAFolder(trap))

    async with nothing_changes():
        refused(await send_moments(bob, in_swag.model_id, *files), 400, "bad_model_file")
    assert not trap.exists()


async def test_all_that_is_wrong_with_the_form_is_named_at_once(bob, in_swag):
    async with nothing_changes():
        data = {"round": "x", "sample_size": "-1"}
        answer = await bob.post(f"/api/models/{in_swag.model_id}/swag/", data=data, files={"model_file": b""})
    wanted = {"round", "sample_size", "first_moment_file", "second_moment_file"}
    assert (answer.status_code, {*answer.json()}) == (400, wanted)


async def test_who_takes_no_part_sends_no_moments(alice, mallory, in_swag):
    async with nothing_changes():
        refused(await send_moments(mallory, in_swag.model_id, *moments()), 404, "not_found")
        refused(await send_moments(alice, in_swag.model_id, *moments()), 403, "permission_denied")


async def test_who_was_removed_sends_no_moments(bob, in_swag):
    await call(trainings.remove_clients, training_id=in_swag.id, clients=[bob.user])
    async with nothing_changes():
        refused(await send_moments(bob, in_swag.model_id, *moments()), 404, "not_found")


async def test_what_can_be_no_moments_is_refused_before_a_byte_is_read(bob, in_swag, handler):
    headers = {"content-type": "multipart/form-data; boundary=b", "content-length": str(17 * 2**20)}
    exchange = Exchange(handler, bob, "POST", f"/api/models/{in_swag.model_id}/swag/", headers)
    await exchange.finished()
    assert (exchange.status, exchange.asked) == (413, 0)
