"""POST /api/tasks/<id>/release/: a client gives a task back."""

import pytest

from hansa.rounds.decisions import Aggregate
from hansa.server.lifecycle.bridge import call, read
from hansa.server.trainings.models import Task
from support.answers import nothing_changes, refused, refused_field
from support.work import INSTANCE, lease, settle, update, upload_and_report


def url(task):
    return f"/api/tasks/{task.id}/release/"


async def row_of(task):
    return await read(Task.objects.get, id=task.id)


async def test_a_task_given_back_for_now_may_be_taken_again(bob, bobs_task):
    response = await bob.post(url(bobs_task), json={"reason": "the battery is low"})

    assert (response.status_code, response.content) == (204, b"")
    row = await row_of(bobs_task)
    assert (row.state, row.reason, row.lease_until) == ("lost", "the battery is low", None)
    again = await bob.post("/api/tasks/next/", json={"instance": INSTANCE})
    assert again.json()["id"] == str(bobs_task.id)


async def test_a_failed_task_is_not_offered_again_in_this_round(bob, bobs_task):
    await bob.post(url(bobs_task), json={"reason": "CUDA out of memory", "failed": True})

    assert ((await row_of(bobs_task)).state, (await row_of(bobs_task)).reason) == ("failed", "CUDA out of memory")
    assert (await bob.post("/api/tasks/next/", json={"instance": INSTANCE})).status_code == 204


async def test_nobody_waits_for_a_client_that_gave_up(bob, carol, bobs_task):
    await upload_and_report(carol, await call(lease, carol), update())
    await bob.post(url(bobs_task), json={"reason": "no data", "failed": True})

    decision = await call(settle, bobs_task.round.training)

    assert isinstance(decision, Aggregate)


async def test_giving_back_twice_or_after_the_report_does_no_harm(bob, bobs_task):
    await upload_and_report(bob, bobs_task, update())

    async with nothing_changes():
        assert (await bob.post(url(bobs_task), json={"reason": "too late", "failed": True})).status_code == 204


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "reason"),
        ({"reason": ""}, "reason"),
        ({"reason": "x" * 501}, "reason"),
        ({"reason": "ok", "failed": "yes"}, "failed"),
        ({"reason": "ok", "final": True}, "final"),
    ],
)
async def test_refuses_a_release_that_is_not_as_the_protocol_says(bob, bobs_task, body, field):
    async with nothing_changes():
        refused_field(await bob.post(url(bobs_task), json=body), field)


async def test_another_clients_task_does_not_exist_for_one(carol, alice, root, bobs_task):
    async with nothing_changes():
        for person in (carol, alice, root):
            refused(await person.post(url(bobs_task), json={"reason": "sabotage"}), 404, "not_found")
