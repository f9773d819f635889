"""POST /api/models/<id>/: updates as older clients send them, on time, twice, late, wrong, and gone.

Bob and Carol take part in Alice's training. What is accepted stands in the round as if it had come from a client of
ours: the same canonical bytes, the same report.
"""

import asyncio

import numpy as np
import pytest
from safetensors.numpy import load, save

from hansa.server.blobs import services as blobs
from hansa.server.blobs import store
from hansa.server.lifecycle.bridge import call, read
from hansa.server.registry.models import Metric, Model
from hansa.server.trainings.models import Participation, Round, Task, Training, Update
from hansa.server.trainings.services import rounds, trainings
from support.answers import nothing_changes, refused
from support.older import Small, accepted, pickled, scripted, send_update
from support.work import add_up, lease, report_of, settle, small_params, start, update, upload_and_report

MULTIPART = {"content-type": "multipart/form-data; boundary=b"}


async def task_of(client, training, number=1):
    rows = Task.objects.select_related("update", "round").order_by("-round__attempt")
    return await read(
        rows.filter(round__training=training, round__number=number, participation__client=client.user).first
    )


async def end_the_round(training, *clients):
    """With updates of these clients, sent the other way."""
    for client in clients:
        await upload_and_report(client, await call(lease, client), update(4.0))
    await call(settle, training)
    await call(add_up, training)


FLAVOURS = {
    "TorchScript": lambda: scripted(Small(1.0)),
    "pickled module": lambda: pickled(Small(1.0)),
    "state dict": lambda: pickled(Small(1.0).state_dict()),
    "our safetensors": lambda: update().content,
    "safetensors of others": lambda: save(small_params(1.0)),
    "transposed": lambda: pickled({**Small(1.0).state_dict(), "fc.weight": Small(1.0).fc.weight.T.contiguous().T}),
}


@pytest.mark.parametrize("flavour", FLAVOURS)
async def test_an_update_of_any_flavour_becomes_the_same_update(flavour, bob, started):
    await accepted(bob, started.model_id, FLAVOURS[flavour](), sample_size=12)

    task = await task_of(bob, started)
    assert (task.state, task.update.digest, task.update.num_examples) == ("reported", update().digest, 12)
    assert task.update.norm == pytest.approx(3.0)
    assert store.path_of(update().digest).read_bytes() == update().content


async def test_it_counts_in_the_round_like_any_other(alice, bob, carol, started):
    await accepted(bob, started.model_id, scripted(Small(1.0)), sample_size=30)
    await end_the_round(started, carol)

    row = await read(Round.objects.get, training=started, number=1)
    assert row.accepted == [[0, update().digest, 30], [1, update(4.0).digest, 10]]
    version = load((await alice.get(f"/api/models/{started.model_id}/versions/1/params/")).content)
    np.testing.assert_array_equal(version["fc.bias"], np.float32([1.75] * 3))


async def test_a_client_of_ours_may_have_leased_the_task_before(bob, started):
    task = await call(lease, bob)

    await accepted(bob, started.model_id, scripted(Small(1.0)))

    again = await bob.post(f"/api/tasks/{task.id}/report/", json=report_of(update()))
    assert again.status_code == 200, "the report that it would have sent is the same report"


async def test_a_client_that_was_given_up_may_still_send_while_the_round_is_open(bob, carol, started, clock):
    await call(lease, bob)
    clock.advance(61)
    await call(lease, carol)
    await call(settle, started)
    assert (await task_of(bob, started)).state == "lost"

    await accepted(bob, started.model_id, scripted(Small(1.0)))

    assert (await task_of(bob, started)).state == "reported"
    assert not (await read(Participation.objects.get, client=bob.user)).absent


async def test_while_the_training_is_paused_work_in_progress_is_accepted(bob, started):
    await call(trainings.pause, training_id=started.id)

    await accepted(bob, started.model_id, scripted(Small(1.0)))


async def test_rounds_count_from_what_the_model_was_given(bob, started):
    await call(Model.objects.filter(id=started.model_id).update, first_round=7)

    refused(await send_update(bob, started.model_id, update().content, round=0), 409, "round_closed", "in round 7")
    await accepted(bob, started.model_id, update().content, round=7)


# Twice


async def test_the_same_bytes_again_are_accepted_again_and_count_once(bob, started):
    content = scripted(Small(1.0))
    await accepted(bob, started.model_id, content)

    async with nothing_changes():
        await accepted(bob, started.model_id, content)


async def test_they_are_accepted_again_when_the_round_is_over_and_the_bytes_are_gone(bob, carol, make_training, clock):
    training = await call(lambda: start(make_training(bob, carol, rounds=1)))
    content = scripted(Small(1.0))
    await accepted(bob, training.model_id, content)
    await end_the_round(training, carol)
    clock.advance(60)
    await blobs.collect(before=clock.now)
    assert (await task_of(bob, training)).update.blob is None
    assert (await read(Training.objects.get, id=training.id)).status == "completed"

    async with nothing_changes():
        await accepted(bob, training.model_id, content)


async def test_of_different_bytes_the_first_count(bob, started):
    await accepted(bob, started.model_id, scripted(Small(1.0)))

    async with nothing_changes():
        answer = await send_update(bob, started.model_id, scripted(Small(2.0)))
        refused(answer, 409, "digest_conflict", "The first count")
    assert (await task_of(bob, started)).update.digest == update(1.0).digest


async def test_an_update_that_came_the_other_way_is_known_by_its_digest(bob, started):
    await upload_and_report(bob, await call(lease, bob), update())

    await accepted(bob, started.model_id, update().content)
    refused(await send_update(bob, started.model_id, update(2.0).content), 409, "digest_conflict")


async def test_of_the_same_update_sent_twice_at_once_one_counts(bob, started):
    content = scripted(Small(1.0))

    answers = await asyncio.gather(*(send_update(bob, started.model_id, content) for _ in range(4)))

    assert [answer.status_code for answer in answers] == [201] * 4
    assert await read(Update.objects.count) == 1


async def test_of_different_updates_sent_at_once_one_counts_and_the_others_are_told(bob, started):
    contents = [scripted(Small(add)) for add in (1.0, 2.0, 3.0)]

    answers = await asyncio.gather(*(send_update(bob, started.model_id, content) for content in contents))

    assert sorted(answer.status_code for answer in answers) == [201, 409, 409]
    kept = await read(Update.objects.select_related("base").get)
    assert {path.name for path in store.files()} == {kept.digest, kept.base.blob_id}, "of the others nothing is left"


async def test_a_round_that_is_begun_anew_takes_the_same_bytes_once_more(bob, started, clock):
    content = scripted(Small(1.0))
    await accepted(bob, started.model_id, content)
    await call(rounds.abandon, training_id=started.id, reason="the others were lost", now=clock.now)
    await accepted(bob, started.model_id, content)
    assert await read(Update.objects.count) == 1

    await call(settle, started)
    await accepted(bob, started.model_id, content)
    assert await read(Update.objects.filter(task__round__attempt=2).count) == 1


# Late, early, not asked


async def test_an_update_for_a_round_that_has_closed_is_told_where_the_training_is(bob, carol, make_training):
    closing = {"quorum": 1, "min_reports": 1}
    training = await call(lambda: start(make_training(bob, carol, rounds=2, closing=closing)))
    await end_the_round(training, carol)

    async with nothing_changes():
        answer = await send_update(bob, training.model_id, scripted(Small(1.0)), round=0)
        refused(answer, 409, "round_closed", "for round 0", "in round 1", "collecting")


async def test_an_update_while_its_round_is_being_aggregated_is_late(bob, carol, make_training):
    training = await call(lambda: start(make_training(bob, carol, closing={"quorum": 1, "min_reports": 1})))
    await upload_and_report(carol, await call(lease, carol), update())
    await call(settle, training)

    async with nothing_changes():
        answer = await send_update(bob, training.model_id, scripted(Small(1.0)))
        refused(answer, 409, "round_closed", "in round 1, aggregating")


async def test_an_update_for_a_round_to_come_is_refused(bob, started):
    async with nothing_changes():
        refused(await send_update(bob, started.model_id, update().content, round=1), 409, "round_closed", "in round 0")


async def test_a_client_that_was_not_selected_is_told(bob, carol, make_training):
    training = await call(lambda: start(make_training(bob, carol, cohort={"size": 1})))
    selected = await read(Participation.objects.get, tasks__round__training=training)
    other = carol if selected.client_id == bob.user.id else bob

    async with nothing_changes():
        answer = await send_update(other, training.model_id, update().content)
        refused(answer, 409, "wrong_state", "not selected for round 0")


async def test_a_task_that_the_client_has_failed_is_closed(bob, started):
    task = await call(lease, bob)
    await bob.post(f"/api/tasks/{task.id}/release/", json={"reason": "out of memory", "failed": True})

    async with nothing_changes():
        answer = await send_update(bob, started.model_id, update().content)
        refused(answer, 409, "task_closed", "failed (out of memory)")


async def test_a_training_that_has_not_started_takes_nothing(bob, training):
    async with nothing_changes():
        refused(await send_update(bob, training.model_id, update().content), 409, "wrong_state", "initial")


async def test_a_training_that_was_cancelled_takes_nothing(bob, started, clock):
    await call(trainings.cancel, training_id=started.id, now=clock.now)

    async with nothing_changes():
        refused(await send_update(bob, started.model_id, update().content), 409, "wrong_state", "cancelled")


async def test_a_round_that_closes_while_the_update_is_on_its_way_closes_without_it(
    bob, carol, make_training, handler, monkeypatch
):
    """Between the first look and the commit."""
    training = await call(lambda: start(make_training(bob, carol, closing={"quorum": 1, "min_reports": 1})))

    async def close_it(digest):
        await upload_and_report(carol, await call(lease, carol), update(4.0))
        await call(settle, training)

    locked = store.lock
    monkeypatch.setattr(
        store, "lock", lambda digest: _After(locked(digest), close_it) if digest == update().digest else locked(digest)
    )
    refused(await send_update(bob, training.model_id, scripted(Small(1.0))), 409, "round_closed")

    assert not store.path_of(update().digest).exists()


class _After:
    """A lock that lets something happen when it is taken."""

    def __init__(self, lock, happen):
        self._lock, self._happen = lock, happen

    async def __aenter__(self):
        await self._lock.acquire()
        await self._happen(None)

    async def __aexit__(self, *exc):
        self._lock.release()


# Metrics of local training


@pytest.mark.parametrize("spelling", ["metric_names", "metric_names[]"])
async def test_metrics_that_come_with_an_update_outlive_the_round(alice, bob, carol, started, spelling):
    names, values = spelling, spelling.replace("names", "values")
    data = {"round": "0", "sample_size": "8", names: ["loss", "phase"], values: ["0.25", "warm"]}
    answer = await bob.post(f"/api/models/{started.model_id}/", data=data, files={"model_file": scripted(Small(1.0))})
    assert answer.status_code == 201, answer.text
    await end_the_round(started, carol)

    rows = await read(lambda: list(Metric.objects.filter(reporter=bob.user).order_by("key")))
    assert [(row.key, row.value, row.text and bytes(row.text), row.kind, row.step) for row in rows] == [
        ("loss", 0.25, None, "train", 1),
        ("phase", None, b"warm", "train", 1),
    ]
    assert rows[0].num_examples == 8
