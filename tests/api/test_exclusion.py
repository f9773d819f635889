"""A client whose tasks fail again and again is asked no more, until its actor lets it in again."""

import pytest

from hansa.protocol.trainings import TrainingDetail
from hansa.rounds.decide import LEASE_SECONDS, OFFER_SECONDS
from hansa.rounds.states import TrainingStatus
from hansa.server.lifecycle.bridge import call, read
from hansa.server.notifications.models import Notification, State
from hansa.server.notifications.outcomes import Outcome
from hansa.server.trainings.models import Participation, Training
from hansa.server.trainings.services import deliveries, push
from support.answers import shown
from support.federation import give_up, take
from support.work import add_up, lease, settle, start, update, upload_and_report


async def standing(person, training, client):
    """What a person sees of a client's failures and exclusion."""
    record = shown(await person.get(f"/api/trainings/{training.id}/"), TrainingDetail)
    return next((each.failures, each.excluded) for each in record.clients if each.id == client.id)


async def row_of(client):
    return await read(Participation.objects.get, client=client.user)


async def selected(training):
    row = await read(training.rounds.order_by("-number", "-attempt").first)
    return row.number, row.selection["selected"]


@pytest.fixture
async def training(make_training, bob, carol):
    """Who fails twice in a row is excluded; a report of one of the two is enough for a version."""
    participation, closing = {"exclude_after": 2}, {"min_reports": 1}
    return await call(lambda: start(make_training(bob, carol, rounds=9, participation=participation, closing=closing)))


async def reports(client, training):
    await upload_and_report(client, await call(lease, client), update())
    await call(settle, training)


async def lease_of_first_ends(training, clock, first, *others):
    """The one goes silent and is given up; the others have come a moment later, and go on."""
    task = await call(lease, first)
    clock.advance(5)
    for client in others:
        await call(lease, client)
    clock.advance(LEASE_SECONDS - 4)
    await call(settle, training)
    return task


async def one_fails(bob, carol, training):
    """Carol's code fails, Bob's does not."""
    await give_up(carol, await take(carol), "CUDA out of memory on carol's machine")
    await reports(bob, training)
    await call(add_up, training)


EXCLUDED = "tasks that failed, or were lost after it had taken them: 2 in a row, the last in round 2"


async def test_who_has_failed_so_many_times_in_a_row_is_selected_no_more(bob, carol, training):
    await one_fails(bob, carol, training)
    assert await selected(training) == (2, [0, 1])
    assert ((await row_of(carol)).failures, (await row_of(carol)).excluded) == (1, "")

    await one_fails(bob, carol, training)
    assert await selected(training) == (3, [0])
    assert (await row_of(carol)).excluded == EXCLUDED
    assert (await carol.post("/api/tasks/next/", json={"instance": "x"})).status_code == 204


async def test_an_accepted_report_sets_the_count_to_nothing(bob, carol, training):
    await one_fails(bob, carol, training)
    await reports(bob, training)
    await reports(carol, training)
    await call(add_up, training)
    await one_fails(bob, carol, training)

    assert (await row_of(carol)).failures == 1
    assert await selected(training) == (4, [0, 1])


async def test_a_task_that_was_taken_and_lost_has_failed_when_its_round_closes(bob, carol, training, clock):
    for number in (1, 2):
        await lease_of_first_ends(training, clock, carol, bob)
        assert (await row_of(carol)).failures == number - 1, "it may still come back"
        await reports(bob, training)
        await call(add_up, training)
        assert (await row_of(carol)).failures == number
    assert (await row_of(carol)).excluded == EXCLUDED
    assert (await row_of(bob)).failures == 0


async def test_who_was_lost_and_came_back_in_time_has_not_failed(bob, carol, training, clock):
    task = await lease_of_first_ends(training, clock, carol, bob)
    await upload_and_report(carol, task, update())
    await reports(bob, training)

    assert (await row_of(carol)).failures == 0


async def test_a_task_that_was_never_taken_is_nobodys_failure(bob, carol, training, clock):
    for _ in range(3):
        task = await call(lease, bob)
        clock.advance(OFFER_SECONDS - 1)
        await bob.post(f"/api/tasks/{task.id}/heartbeat/", json={})
        clock.advance(1)
        await call(settle, training)
        await reports(bob, training)
        await call(add_up, training)
    assert ((await row_of(carol)).failures, (await row_of(carol)).excluded) == (0, "")


async def test_without_the_plans_word_failures_are_counted_and_nobody_is_excluded(make_training, bob, carol):
    training = await call(lambda: start(make_training(bob, carol, rounds=9, closing={"min_reports": 1})))
    for _ in range(4):
        await one_fails(bob, carol, training)
    assert ((await row_of(carol)).failures, (await row_of(carol)).excluded) == (4, "")


async def test_an_evaluation_that_fails_does_not_count(make_training, bob, carol):
    plan = {"rounds": 2, "evaluation": {"every": 1}, "participation": {"exclude_after": 1}}
    training = await call(lambda: start(make_training(bob, carol, **plan)))
    for client in (bob, carol):
        await reports(client, training)
    await call(add_up, training)
    evaluation = await take(carol)
    assert evaluation["kind"] == "evaluate"
    await give_up(carol, evaluation)

    assert ((await row_of(carol)).failures, (await row_of(carol)).excluded) == (0, "")


async def deliver(training, clock):
    """What waits to be told is told, and answered with 2xx."""
    for row in await read(lambda: list(Notification.objects.filter(state=State.PENDING))):
        outcome = Outcome(row.id, training.id, State.DELIVERED, "", 1)
        await call(deliveries.take, outcome, clock())


async def test_a_client_that_is_told_of_its_tasks_and_never_reports_is_excluded_too(bob, carol, training, clock):
    carol.user.message_endpoint = "https://carol.example/"
    await call(carol.user.save)
    for _ in range(2):
        await call(settle, training)
        await call(lambda: push.keep_up(training, clock()))
        await deliver(training, clock)
        await reports(bob, training)
        clock.advance(deliveries.PUSH_LEASE_SECONDS + 1)
        await call(settle, training)
        await call(add_up, training)

    assert (await row_of(carol)).excluded == EXCLUDED
    assert await selected(training) == (3, [0])


async def test_its_actor_lets_it_in_again(alice, bob, carol, training):
    for _ in range(2):
        await one_fails(bob, carol, training)

    answer = await alice.put(f"/api/trainings/{training.id}/clients/", json={"clients": ["carol"]})

    assert answer.status_code == 202
    row = await row_of(carol)
    assert (row.failures, row.excluded, row.ordinal) == (0, "", 1)
    await reports(bob, training)
    await call(add_up, training)
    assert await selected(training) == (4, [0, 1])


async def test_the_actor_and_the_client_itself_see_it_and_others_do_not(alice, bob, carol, root, training):
    for _ in range(2):
        await one_fails(bob, carol, training)

    for viewer in (alice, carol, root):
        assert await standing(viewer, training, carol) == (2, EXCLUDED)
    assert await standing(bob, training, carol) == (None, None)
    assert await standing(bob, training, bob) == (0, "")


async def test_what_a_client_said_when_it_failed_is_not_in_the_reason(bob, carol, training):
    for _ in range(2):
        await one_fails(bob, carol, training)
    assert "CUDA" not in (await row_of(carol)).excluded


async def test_a_training_whose_clients_are_all_excluded_stops_and_says_so(make_training, bob, carol):
    plan = {"participation": {"exclude_after": 1}}
    training = await call(lambda: start(make_training(bob, carol, **plan)))
    for client in (bob, carol):
        await give_up(client, await take(client))
    await call(settle, training)

    row = await read(Training.objects.get, id=training.id)
    assert row.status == TrainingStatus.ERROR.value
    assert row.reason == (
        "no client is left in the training (2 more are excluded: their tasks failed too often). Add clients, then "
        "resume it."
    )
