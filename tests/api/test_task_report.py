"""POST /api/tasks/<id>/report/: the commit of a task."""

import asyncio
from uuid import UUID

import pytest

from hansa.protocol.tasks import Receipt, TaskReport, Verdict
from hansa.server.lifecycle.bridge import call, read
from hansa.server.lifecycle.errors import InvalidError
from hansa.server.registry.models import Metric
from hansa.server.trainings.models import Task, Update
from hansa.server.trainings.services import tasks, trainings
from support.answers import nothing_changes, refused, refused_field, shown
from support.work import add_up, lease, report_of, settle, start, update, upload, upload_and_report


def url(task):
    return f"/api/tasks/{task.id}/report/"


@pytest.fixture
async def uploaded(bob, bobs_task):
    """Bob's task, with his update in the store but not reported."""
    await upload(bob, bobs_task, update())
    return bobs_task


async def test_the_report_is_acknowledged_with_a_receipt(bob, clock, uploaded):
    receipt = shown(await bob.post(url(uploaded), json=report_of(update())), Receipt)

    assert receipt == Receipt(
        task=str(uploaded.id),
        verdict=Verdict.ACCEPTED,
        digest=update().digest,
        received_at=clock.now.isoformat(),
    )


async def test_the_update_counts_with_its_examples_and_its_distance_from_the_base(bob, uploaded, clock):
    await bob.post(url(uploaded), json=report_of(update(), examples=120))

    accepted = await read(Update.objects.select_related("base").get)
    assert (accepted.task_id, accepted.digest, accepted.blob_id) == (uploaded.id, update().digest, update().digest)
    assert (accepted.num_examples, accepted.size, accepted.base.number) == (120, len(update()), 0)
    assert accepted.norm == pytest.approx(3.0), "nine elements of params moved by 1; buffers do not count"
    assert accepted.received_at == clock.now


async def test_the_task_is_reported_and_its_lease_is_over(bob, uploaded):
    await bob.post(url(uploaded), json=report_of(update(), metrics={"loss": 0.25, "accuracy": 0.5}))

    row = await read(Task.objects.get, id=uploaded.id)
    assert (row.state, row.lease_until, row.num_examples, row.seconds) == ("reported", None, 10, 1.5)
    assert row.metrics == {"loss": 0.25, "accuracy": 0.5}


async def test_metrics_are_kept_for_the_version_that_comes_of_the_round(bob, uploaded):
    await bob.post(url(uploaded), json=report_of(update(), examples=12, metrics={"loss": 0.25}))

    metric = await read(Metric.objects.get)
    assert (metric.kind, metric.key, metric.value, metric.step) == ("train", "loss", 0.25, 1)
    assert (metric.reporter_id, metric.num_examples) == (bob.user.id, 12)


async def test_the_same_report_again_gets_the_same_receipt_and_counts_once(bob, uploaded, clock):
    first = shown(await bob.post(url(uploaded), json=report_of(update())), Receipt)
    clock.advance(5)

    async with nothing_changes():
        assert shown(await bob.post(url(uploaded), json=report_of(update())), Receipt) == first


async def test_the_same_report_gets_the_same_receipt_even_after_the_round_has_gone_on(bob, carol, uploaded):
    first = shown(await bob.post(url(uploaded), json=report_of(update())), Receipt)
    await upload_and_report(carol, await call(lease, carol), update(2.0))
    training = uploaded.round.training
    await call(settle, training)
    await call(add_up, training)

    async with nothing_changes():
        assert shown(await bob.post(url(uploaded), json=report_of(update())), Receipt) == first


async def test_reports_that_arrive_at_the_same_time_count_once(bob, uploaded):
    answers = await asyncio.gather(*(bob.post(url(uploaded), json=report_of(update())) for _ in range(8)))

    assert len({answer.content for answer in answers}) == 1
    assert {answer.status_code for answer in answers} == {200}
    assert await read(Update.objects.count) == 1


async def test_another_digest_does_not_replace_a_report(bob, uploaded):
    await bob.post(url(uploaded), json=report_of(update()))
    other = update(9.0)

    async with nothing_changes():
        response = await bob.post(url(uploaded), json=report_of(other))
        refused(response, 409, "digest_conflict", update().digest, other.digest, "first report counts")


async def test_a_report_without_an_upload_is_incomplete(bob, bobs_task):
    async with nothing_changes():
        response = await bob.post(url(bobs_task), json=report_of(update()))
        refused(response, 409, "upload_incomplete", "no update", f"PUT /api/tasks/{bobs_task.id}/update/")


async def test_an_update_that_only_another_client_has_uploaded_is_incomplete(bob, carol, uploaded):
    carols = await call(lease, carol)

    async with nothing_changes():
        refused(await carol.post(url(carols), json=report_of(update())), 409, "upload_incomplete", "no update of you")


async def test_what_was_uploaded_last_is_what_can_be_reported(bob, uploaded):
    await upload(bob, uploaded, update(2.0))

    async with nothing_changes():
        response = await bob.post(url(uploaded), json=report_of(update()))
        refused(response, 409, "upload_incomplete", update(2.0).digest)
    assert (await bob.post(url(uploaded), json=report_of(update(2.0)))).status_code == 200


async def test_a_training_task_is_not_reported_without_a_digest(bob, uploaded):
    async with nothing_changes():
        refused(await bob.post(url(uploaded), json=report_of(None)), 422, "invalid", "'digest' is missing")


async def test_a_closed_round_accepts_nothing_more(bob, carol, make_training):
    training = await call(lambda: start(make_training(bob, carol, closing={"quorum": 1})))
    task, carols = await call(lease, bob), await call(lease, carol)
    await upload(bob, task, update())
    await upload_and_report(carol, carols, update(2.0))
    await call(settle, training)

    async with nothing_changes():
        refused(await bob.post(url(task), json=report_of(update())), 409, "round_closed", "Round 1 has closed")


async def test_a_task_that_was_not_leased_cannot_be_reported(bob, started):
    offered = await read(Task.objects.get, participation__client=bob.user)

    async with nothing_changes():
        response = await bob.post(url(offered), json=report_of(update()))
        refused(response, 409, "wrong_state", "not leased", "POST /api/tasks/next/")


async def test_a_client_that_was_given_up_may_still_report_while_the_round_collects(bob, carol, clock, started):
    task = await call(lease, bob)
    await upload(bob, task, update())
    clock.advance(30)
    await call(lease, carol)
    clock.advance(31)
    await call(settle, started)
    assert (await read(Task.objects.get, id=task.id)).state == "lost"

    assert (await bob.post(url(task), json=report_of(update()))).status_code == 200

    assert (await read(Task.objects.get, id=task.id)).state == "reported"


async def test_a_failed_task_is_closed(bob, uploaded):
    await call(tasks.give_back, task_id=uploaded.id, user_id=bob.user.id, reason="out of memory", failed=True)

    async with nothing_changes():
        refused(await bob.post(url(uploaded), json=report_of(update())), 409, "task_closed", "out of memory")


async def test_a_removed_client_cannot_report(bob, uploaded):
    await call(trainings.remove_clients, training_id=uploaded.round.training_id, clients=[bob.user])

    async with nothing_changes():
        refused(await bob.post(url(uploaded), json=report_of(update())), 409, "task_closed", "removed")


async def test_a_cancelled_training_accepts_nothing_more(bob, uploaded, clock):
    await call(trainings.cancel, training_id=uploaded.round.training_id, now=clock.now)

    async with nothing_changes():
        response = await bob.post(url(uploaded), json=report_of(update()))
        assert "training is cancelled" in response.json()["detail"]
        assert response.status_code == 409


async def test_work_in_progress_is_accepted_while_the_training_is_paused(bob, uploaded):
    await call(trainings.pause, training_id=uploaded.round.training_id)

    assert (await bob.post(url(uploaded), json=report_of(update()))).status_code == 200


async def test_an_evaluation_is_reported_without_a_digest(bob, evaluating):
    task = await call(lease, bob)
    receipt = shown(await bob.post(url(task), json=report_of(None, metrics={"accuracy": 0.9})), Receipt)

    assert (receipt.digest, receipt.verdict) == (None, Verdict.ACCEPTED)
    metric = await read(Metric.objects.get, kind="evaluate")
    assert (metric.key, metric.value, metric.step) == ("accuracy", 0.9, 1), "of the version that was evaluated"
    assert shown(await bob.post(url(task), json=report_of(None)), Receipt) == receipt


async def test_an_evaluation_with_a_digest_is_refused(bob, evaluating):
    task = await call(lease, bob)

    async with nothing_changes():
        refused(await bob.post(url(task), json=report_of(update())), 422, "invalid", "leave 'digest' out")


@pytest.mark.parametrize("examples", [0, -1, 2**53 + 1, 1.5, "10", True, None])
async def test_refuses_examples_that_are_not_a_whole_number_from_one_on(bob, uploaded, examples):
    async with nothing_changes():
        body = {**report_of(update()), "num_examples": examples}
        refused_field(await bob.post(url(uploaded), json=body), "num_examples")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("field", ['"metrics": {"loss": %s}', '"seconds": %s'])
async def test_json_cannot_carry_what_is_not_a_number(bob, uploaded, number, field):
    body = f'{{"num_examples": 1, "digest": "{update().digest}", {field % number}}}'

    async with nothing_changes():
        response = await bob.post(url(uploaded), content=body, headers={"Content-Type": "application/json"})
        refused(response, 400, "invalid", "not valid JSON")


@pytest.mark.parametrize("field", ['"metrics": {"loss": 1e999}', '"seconds": 1e999'])
async def test_a_number_too_large_for_a_float_is_refused(bob, uploaded, field):
    body = f'{{"num_examples": 1, "digest": "{update().digest}", {field}}}'

    async with nothing_changes():
        response = await bob.post(url(uploaded), content=body, headers={"Content-Type": "application/json"})
        assert response.status_code == 400


def test_metrics_that_are_not_finite_are_refused_wherever_they_come_from(bob, bobs_task, clock):
    report = TaskReport(num_examples=1, digest=update().digest, metrics={"loss": float("nan")})

    with pytest.raises(InvalidError, match="'loss' is nan; metrics must be finite") as caught:
        tasks.report(task_id=bobs_task.id, user_id=bob.user.id, report=report, now=clock.now)
    assert caught.value.code == "not_finite"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"metrics": {"": 1.0}}, "metrics"),
        ({"metrics": {"x" * 65: 1.0}}, "metrics"),
        ({"metrics": {"loss": "small"}}, "metrics"),
        ({"metrics": [1]}, "metrics"),
        ({"seconds": -1}, "seconds"),
        ({"digest": "ABC"}, "digest"),
        ({"digest": "a" * 63}, "digest"),
        ({"weight": 5}, "weight"),
    ],
)
async def test_refuses_a_report_that_is_not_as_the_protocol_says(bob, uploaded, body, field):
    async with nothing_changes():
        response = await bob.post(url(uploaded), json={**report_of(update()), **body})
        assert response.status_code == 400
        (named,) = response.json()
        assert named.split(".")[0].split("[")[0] == field


async def test_refuses_more_than_64_metrics(bob, uploaded):
    metrics = {f"m{number}": 1.0 for number in range(65)}

    async with nothing_changes():
        response = await bob.post(url(uploaded), json=report_of(update(), metrics=metrics))
        refused(response, 422, "invalid", "65 metrics", "at most 64")


async def test_another_clients_task_does_not_exist_for_one(carol, alice, root, uploaded):
    async with nothing_changes():
        for person in (carol, alice, root):
            response = await person.post(url(uploaded), json=report_of(update()))
            refused(response, 404, "not_found", str(uploaded.id))


async def test_an_unknown_task_does_not_exist(bob):
    response = await bob.post(f"/api/tasks/{UUID(int=0)}/report/", json=report_of(update()))

    refused(response, 404, "not_found", str(UUID(int=0)))
