"""POST /api/models/<id>/metrics/ in a training: what an older client measured is the result of its evaluation."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from hansa.server.lifecycle.bridge import call, read
from hansa.server.registry.models import Metric, Model
from hansa.server.trainings.models import Round, Task
from hansa.server.trainings.services import trainings
from support.answers import nothing_changes, refused
from support.older import send_metrics
from support.work import lease, report_of, settle


async def recorded(client, model, **values):
    answer = await send_metrics(client, model, **values)
    assert answer.status_code == 201, answer.text
    assert answer.json() == {"detail": "Model Metrics Upload Accepted", "model_id": str(model)}


async def evaluation_of(client):
    return await read(Task.objects.get, kind="evaluate", participation__client=client.user)


async def metrics_of(client, kind="evaluate"):
    rows = await read(lambda: list(Metric.objects.filter(reporter=client.user, kind=kind).order_by("key")))
    return {row.key: row.value if row.text is None else bytes(row.text) for row in rows}


@asynccontextmanager
async def no_task_moves():
    """Nor a round: whatever is recorded."""

    def states():
        return list(Task.objects.order_by("id").values()), list(Round.objects.values())

    before = await read(states)
    yield
    assert await read(states) == before


async def test_it_completes_the_evaluation_of_its_client(bob, evaluating, clock):
    await recorded(bob, evaluating.model_id, accuracy=0.75, loss="1e-3", note="warm")

    task = await evaluation_of(bob)
    assert (task.state, task.reported_at, task.num_examples) == ("reported", clock.now, 1)
    assert task.measured == {"accuracy": 0.75, "loss": 0.001}
    assert await metrics_of(bob) == {"accuracy": 0.75, "loss": 0.001, "note": b"warm"}
    assert {row.step for row in await read(lambda: list(Metric.objects.filter(kind="evaluate")))} == {1}


async def test_when_the_last_has_measured_the_round_is_done(bob, carol, evaluating):
    for client in (bob, carol):
        await recorded(client, evaluating.model_id, accuracy=0.5)
    await call(settle, evaluating)

    assert (await read(Round.objects.get)).state == "done"


async def test_a_client_may_say_on_how_many_examples(bob, evaluating):
    data = {"metric_names": "accuracy", "metric_values": "0.5", "sample_size": "40"}
    assert (await bob.post(f"/api/models/{evaluating.model_id}/metrics/", data=data)).status_code == 201

    assert (await evaluation_of(bob)).num_examples == 40
    assert (await read(Metric.objects.get, key="accuracy")).num_examples == 40


async def test_posted_again_it_adds_to_what_was_measured_and_replaces_it(bob, evaluating):
    await recorded(bob, evaluating.model_id, accuracy=0.5, note="cold", loss=2.0)
    await recorded(bob, evaluating.model_id, accuracy=0.75, note=1.0, loss="none", f1_score=0.25)

    assert (await evaluation_of(bob)).measured == {"accuracy": 0.75, "note": 1.0, "f1_score": 0.25}
    assert await metrics_of(bob) == {"accuracy": 0.75, "f1_score": 0.25, "loss": b"none", "note": 1.0}


async def test_the_same_again_changes_nothing(bob, evaluating):
    await recorded(bob, evaluating.model_id, accuracy=0.5)
    async with nothing_changes():
        await recorded(bob, evaluating.model_id, accuracy=0.5)


async def test_posted_twice_at_once_it_counts_once(bob, evaluating):
    await asyncio.gather(*(recorded(bob, evaluating.model_id, accuracy=0.5) for _ in range(4)))

    assert (await evaluation_of(bob)).state == "reported"
    assert await metrics_of(bob) == {"accuracy": 0.5}


@pytest.mark.parametrize("value", [1.0, "a text"])
async def test_an_evaluation_has_no_more_metrics_than_a_report_may_have(bob, evaluating, value):
    await recorded(bob, evaluating.model_id, **{f"m{number}": 1.0 for number in range(64)})

    async with nothing_changes():
        answer = await send_metrics(bob, evaluating.model_id, one_more=value)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid"), answer.text
        assert "65 metrics" in answer.json()["detail"]


async def test_a_client_of_ours_may_have_leased_the_evaluation_before(bob, evaluating):
    task = await call(lease, bob)

    await recorded(bob, evaluating.model_id, accuracy=0.5)

    assert (await evaluation_of(bob)).state == "reported"
    assert (await bob.post(f"/api/tasks/{task.id}/report/", json=report_of(None))).status_code == 200


async def test_a_client_that_was_given_up_may_still_measure_while_the_round_is_open(bob, carol, evaluating, clock):
    await call(lease, bob)
    clock.advance(61)
    await call(lease, carol)
    await call(settle, evaluating)
    assert (await evaluation_of(bob)).state == "lost"

    await recorded(bob, evaluating.model_id, accuracy=0.5)
    assert (await evaluation_of(bob)).state == "reported"


async def test_while_the_training_is_paused_the_evaluation_is_accepted(bob, evaluating):
    await call(trainings.pause, training_id=evaluating.id)

    await recorded(bob, evaluating.model_id, accuracy=0.5)
    assert (await evaluation_of(bob)).state == "reported"


async def test_before_the_evaluation_metrics_are_recorded_and_no_task_moves(bob, started):
    async with no_task_moves():
        await recorded(bob, started.model_id, accuracy=0.5)

    (row,) = await read(lambda: list(Metric.objects.all()))
    assert (row.kind, row.step, row.value) == ("evaluate", 0, 0.5)


async def test_after_the_training_metrics_are_recorded_at_its_last_round(bob, carol, evaluating):
    for client in (bob, carol):
        await recorded(client, evaluating.model_id, accuracy=0.5)
    await call(settle, evaluating)

    async with no_task_moves():
        await recorded(bob, evaluating.model_id, accuracy=0.75)
    assert (await read(Metric.objects.get, kind="evaluate", reporter=bob.user)).value == 0.75


@pytest.mark.parametrize("who", ["actor", "owner"])
async def test_others_may_post_metrics_and_move_nothing(who, alice, person, evaluating):
    poster = alice
    if who == "owner":
        poster = await call(lambda: person("owner"))
        await call(Model.objects.filter(id=evaluating.model_id).update, owner=poster.user)

    async with no_task_moves():
        await recorded(poster, evaluating.model_id, accuracy=0.5)


async def test_a_client_completes_its_own_evaluation_only(bob, carol, evaluating):
    await recorded(bob, evaluating.model_id, accuracy=0.5)

    assert (await evaluation_of(carol)).state == "offered"


async def test_a_client_that_was_removed_measures_nothing(bob, evaluating):
    await call(trainings.remove_clients, training_id=evaluating.id, clients=[bob.user])

    async with nothing_changes():
        refused(await send_metrics(bob, evaluating.model_id, accuracy=0.5), 404, "not_found")


async def test_a_stranger_moves_no_training(mallory, evaluating):
    async with nothing_changes():
        refused(await send_metrics(mallory, evaluating.model_id, accuracy=0.5), 404, "not_found")


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"accuracy": "0.5"}, "metric_names"),
        ({"metric_names": "a"}, "metric_values"),
        ({"metric_names": "x" * 33, "metric_values": "1"}, "metric_names"),
        ({"metric_names": "a", "metric_values": "1", "sample_size": "0"}, "sample_size"),
        ({"metric_names": "a", "metric_values": "1", "sample_size": "many"}, "sample_size"),
    ],
)
async def test_of_a_form_that_is_wrong_nothing_is_taken(bob, evaluating, data, field):
    async with nothing_changes():
        answer = await bob.post(f"/api/models/{evaluating.model_id}/metrics/", data=data)
        assert (answer.status_code, [*answer.json()]) == (400, [field]), answer.text
