"""POST /api/tasks/<id>/heartbeat/: a client at work says that it is alive."""

import pytest

from hansa.protocol.tasks import HeartbeatAnswer
from hansa.server.lifecycle.bridge import call, read
from hansa.server.trainings.models import Task
from hansa.server.trainings.services import tasks, trainings
from support.answers import nothing_changes, refused, refused_field, shown
from support.work import lease, settle, update, upload_and_report


def url(task):
    return f"/api/tasks/{task.id}/heartbeat/"


async def row_of(task):
    return await read(Task.objects.get, id=task.id)


async def test_renews_the_lease_for_a_minute(bob, clock, bobs_task):
    clock.advance(50)

    answer = shown(await bob.post(url(bobs_task), json={"progress": 0.5}), HeartbeatAnswer)

    assert answer == HeartbeatAnswer(proceed=True, lease_seconds=60.0, reason="")
    assert ((await row_of(bobs_task)).lease_until - clock.now).total_seconds() == 60


@pytest.mark.parametrize("body", [None, {}, {"progress": None}, {"progress": 0}, {"progress": 1}])
async def test_progress_may_be_left_out(bob, bobs_task, body):
    assert shown(await bob.post(url(bobs_task), json=body), HeartbeatAnswer).proceed


async def test_a_client_that_was_given_up_takes_its_lease_up_again(bob, carol, clock, started):
    task = await call(lease, bob)
    clock.advance(30)
    await call(lease, carol)
    clock.advance(31)
    await call(settle, started)
    assert (await row_of(task)).state == "lost"

    assert shown(await bob.post(url(task)), HeartbeatAnswer).proceed

    assert ((await row_of(task)).state, (await row_of(task)).reason) == ("leased", "")


async def test_says_to_stop_when_the_round_has_closed(bob, carol, bobs_task):
    other = await call(lease, carol)
    await upload_and_report(carol, other, update())
    await call(tasks.give_back, task_id=bobs_task.id, user_id=bob.user.id, reason="no power", failed=True)
    await call(settle, bobs_task.round.training)

    answer = shown(await bob.post(url(bobs_task)), HeartbeatAnswer)

    assert answer.proceed is False
    assert answer.reason == "round 1 has closed (aggregating)"


@pytest.mark.parametrize(
    ("service", "reason"),
    [
        (lambda task, user: tasks.give_back(task_id=task.id, user_id=user.id, reason="broken", failed=True), "failed"),
        (lambda task, user: trainings.remove_clients(training_id=task.round.training_id, clients=[user]), "removed"),
    ],
)
async def test_says_to_stop_when_the_task_is_over(bob, bobs_task, service, reason):
    await call(service, bobs_task, bob.user)

    answer = shown(await bob.post(url(bobs_task)), HeartbeatAnswer)

    assert answer.proceed is False
    assert reason in answer.reason


async def test_says_to_stop_when_the_training_is_cancelled(bob, bobs_task, clock):
    await call(trainings.cancel, training_id=bobs_task.round.training_id, now=clock.now)

    answer = shown(await bob.post(url(bobs_task)), HeartbeatAnswer)

    assert (answer.proceed, answer.reason) == (False, "the training is cancelled")


async def test_goes_on_while_the_training_is_paused(bob, bobs_task):
    await call(trainings.pause, training_id=bobs_task.round.training_id)

    assert shown(await bob.post(url(bobs_task)), HeartbeatAnswer).proceed


async def test_does_not_lease_a_task_that_was_never_taken(bob, started):
    offered = await read(Task.objects.get, participation__client=bob.user)

    async with nothing_changes():
        answer = shown(await bob.post(url(offered)), HeartbeatAnswer)

    assert (answer.proceed, answer.reason) == (False, "the task is offered")


@pytest.mark.parametrize("progress", [-0.1, 1.1, "half", True])
async def test_refuses_a_progress_that_is_not_a_share(bob, bobs_task, progress):
    async with nothing_changes():
        refused_field(await bob.post(url(bobs_task), json={"progress": progress}), "progress")


async def test_another_clients_task_does_not_exist_for_one(carol, bobs_task):
    async with nothing_changes():
        refused(await carol.post(url(bobs_task)), 404, "not_found", str(bobs_task.id), "not yours")


async def test_not_even_the_actor_or_root_speak_for_a_client(alice, root, bobs_task):
    async with nothing_changes():
        for person in (alice, root):
            refused(await person.post(url(bobs_task)), 404, "not_found")
