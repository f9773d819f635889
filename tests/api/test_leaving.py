"""POST /api/trainings/<id>/leave/: a participant takes itself out, at once."""

from hansa.server.lifecycle.bridge import call, read
from hansa.server.trainings.models import Participation, Task, Update
from support.answers import nothing_changes, refused
from support.work import add_up, lease, settle, update, upload_and_report


def url(training):
    return f"/api/trainings/{training.id}/leave/"


async def test_who_leaves_is_not_waited_for_any_more(bob, carol, started):
    await call(lease, carol)
    await upload_and_report(bob, await call(lease, bob), update())

    answer = await carol.post(url(started))

    assert (answer.status_code, answer.content) == (204, b"")
    await call(settle, started)
    await call(add_up, started)
    newest = await read(started.rounds.order_by("-number").first)
    assert (newest.number, newest.selection["selected"]) == (2, [0])
    task = await read(Task.objects.get, participation__client=carol.user)
    assert (task.state, task.reason) == ("closed", "the client left the training")


async def test_what_it_reported_stays_and_counts(bob, carol, started):
    await upload_and_report(carol, await call(lease, carol), update(4.0))
    await carol.post(url(started))
    await upload_and_report(bob, await call(lease, bob), update(1.0))
    await call(settle, started)

    accepted = (await read(started.rounds.get)).accepted
    assert [ordinal for ordinal, _, _ in accepted] == [0, 1]
    assert await read(Update.objects.count) == 2


async def test_leaving_again_changes_nothing(carol, started):
    assert (await carol.post(url(started))).status_code == 204
    async with nothing_changes():
        assert (await carol.post(url(started))).status_code == 204


async def test_who_left_sees_the_training_no_more_and_may_be_added_again(alice, carol, started):
    await carol.post(url(started))
    assert (await carol.get(f"/api/trainings/{started.id}/")).status_code == 404

    await alice.put(f"/api/trainings/{started.id}/clients/", json={"clients": ["carol"]})
    row = await read(Participation.objects.get, client=carol.user)
    assert (row.active, row.ordinal) == (True, 1)


async def test_who_takes_no_part_cannot_leave(alice, root, started):
    async with nothing_changes():
        for person in (alice, root):
            refused(await person.post(url(started)), 403, "permission_denied", "you are none")


async def test_to_a_stranger_there_is_no_such_training(mallory, started):
    async with nothing_changes():
        refused(await mallory.post(url(started)), 404, "not_found")


async def test_a_training_that_has_not_begun_can_be_left(bob, training):
    assert (await bob.post(url(training))).status_code == 204
    assert await read(lambda: list(training.participations.filter(active=True).values_list("ordinal", flat=True))) == [
        1
    ]
