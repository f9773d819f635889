"""POST /api/trainings/<id>/start/, pause/, resume/, cancel/; PUT and DELETE …/clients/."""

import asyncio

import pytest

from hansa.protocol.models import Detail
from hansa.rounds.decisions import Aggregate
from hansa.server.accounts.models import User
from hansa.server.lifecycle.bridge import call, read
from hansa.server.trainings.models import Participation, Round, Task, Training
from hansa.server.trainings.services import trainings
from support.answers import nothing_changes, refused, refused_field, shown
from support.federation import began, take, until
from support.work import lease, settle, start, update, upload_and_report


def url(training, action):
    return f"/api/trainings/{training.id}/{action}/"


async def row_of(training):
    return await read(Training.objects.get, id=training.id)


async def test_start(alice, training, clock):
    answer = shown(await alice.post(url(training, "start")), Detail, 202)

    assert answer.detail == "Training started!"
    row = await row_of(training)
    assert (row.status, row.started_at) == ("ongoing", clock.now)


@pytest.mark.parametrize("body", [{}, {"json": {}}, {"data": {"a": "b"}}, {"files": {"a": b"b"}}])
async def test_whatever_stands_in_the_body_of_a_start_it_starts(alice, training, body):
    assert shown(await alice.post(url(training, "start"), **body), Detail, 202).detail == "Training started!"


async def test_of_many_who_start_it_at_once_one_does(alice, training):
    answers = await asyncio.gather(*(alice.post(url(training, "start")) for _ in range(5)))

    assert sorted(answer.status_code for answer in answers) == [202, 409, 409, 409, 409]


async def test_a_training_without_clients_cannot_start(alice, make_training):
    training = await call(make_training)

    async with nothing_changes():
        refused(await alice.post(url(training, "start")), 422, "no_clients", "Add clients, then start")


async def test_a_training_whose_clients_have_all_closed_their_accounts_cannot_start(alice, bob, carol, make_training):
    training = await call(lambda: make_training(bob, carol))
    await call(lambda: User.objects.filter(client=True).update(is_active=False))

    async with nothing_changes():
        answer = await alice.post(url(training, "start"))
        refused(answer, 422, "no_clients", "closed (bob, carol)", "Add other clients")


async def test_who_has_closed_their_account_does_not_count_when_a_training_starts(alice, bob, carol, make_training):
    training = await call(lambda: make_training(bob, carol, closing={"quorum": 2}))
    await call(lambda: User.objects.filter(username="carol").update(is_active=False))

    async with nothing_changes():
        refused(await alice.post(url(training, "start")), 422, "unsound_plan", "closing.quorum is 2", "1 of 1")


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ({"cohort": {"size": 3}}, ["cohort.size is 3", "2 participants"]),
        ({"closing": {"quorum": 3}}, ["closing.quorum is 3", "2 of 2"]),
        ({"closing": {"min_reports": 2}, "cohort": {"fraction": 0.5}}, ["closing.min_reports is 2", "1 of 2"]),
    ],
)
async def test_a_plan_that_the_participants_cannot_fulfil_does_not_start(alice, bob, carol, make_training, plan, words):
    training = await call(lambda: make_training(bob, carol, **plan))

    async with nothing_changes():
        refused(await alice.post(url(training, "start")), 422, "unsound_plan", *words)


async def test_pause_and_resume(alice, bob, started):
    assert shown(await alice.post(url(started, "pause")), Detail, 202).detail == "Training paused!"
    row = await row_of(started)
    assert (row.status, row.reason) == ("paused", "paused by its actor")

    assert shown(await alice.post(url(started, "resume")), Detail, 202).detail == "Training resumed!"
    assert ((await row_of(started)).status, (await row_of(started)).reason) == ("ongoing", "")
    assert (await call(lease, bob)).state == "leased"


async def test_the_letter_of_the_older_platform_stays_o_while_paused(alice, started):
    await alice.post(url(started, "pause"))

    record = (await alice.get(f"/api/trainings/{started.id}/")).json()
    assert (record["status"], record["state"], record["reason"]) == ("paused", "O", "paused by its actor")


async def test_a_paused_round_does_not_close_until_it_is_resumed(alice, bob, carol, started):
    tasks = [(bob, await call(lease, bob)), (carol, await call(lease, carol))]
    await alice.post(url(started, "pause"))
    for client, task in tasks:
        await upload_and_report(client, task, update())
    await call(settle, started)
    assert (await read(Round.objects.get)).state == "collecting"

    await alice.post(url(started, "resume"))

    assert isinstance(await call(settle, started), Aggregate)


async def test_cancel_ends_everything_but_the_versions(alice, bob, started, clock):
    task = await call(lease, bob)

    assert shown(await alice.post(url(started, "cancel")), Detail, 202).detail == "Training cancelled!"

    row = await row_of(started)
    assert (row.status, row.reason, row.finished_at) == ("cancelled", "cancelled by its actor", clock.now)
    assert (await read(Task.objects.get, id=task.id)).state == "closed"
    assert (await read(Round.objects.get)).state == "abandoned"
    record = (await alice.get(f"/api/trainings/{started.id}/")).json()
    assert (record["state"], record["version"]) == ("E", 0)


async def test_updates_of_a_cancelled_training_are_let_go(alice, bob, started):
    await upload_and_report(bob, await call(lease, bob), update())

    await alice.post(url(started, "cancel"))

    task = await read(Task.objects.select_related("update").get, state="reported")
    assert (task.uploaded_id, task.update.blob_id, task.update.digest) == (None, None, update().digest)


@pytest.mark.parametrize(
    ("status", "action", "next_step"),
    [
        ("initial", "pause", "Start it first."),
        ("initial", "resume", "only a paused or failed one can be resumed. Start it first."),
        ("ongoing", "start", "only an initial one can be started. It is at work"),
        ("ongoing", "resume", "It is at work; its record says how far it is."),
        ("paused", "start", "Resume it."),
        ("paused", "pause", "it cannot become paused once more."),
        ("cancelled", "start", "create another one of its model"),
        ("cancelled", "pause", "create another one of its model"),
        ("cancelled", "resume", "create another one of its model"),
        ("cancelled", "cancel", "it cannot become cancelled once more."),
        ("completed", "start", "create another one of its model"),
        ("completed", "resume", "create another one of its model"),
        ("completed", "cancel", "create another one of its model"),
        ("error", "start", "Mend what its reason names, then resume it."),
        ("error", "pause", "Mend what its reason names, then resume it."),
    ],
)
async def test_a_move_that_is_not_possible_is_refused_with_the_present_state_and_the_next_step(
    alice, training, status, action, next_step
):
    await call(Training.objects.filter(id=training.id).update, status=status, reason="because")

    async with nothing_changes():
        answer = await alice.post(url(training, action))
        refused(answer, 409, "wrong_state", f"The training is {status};", next_step)


@pytest.mark.parametrize(("status", "action"), [("error", "resume"), ("error", "cancel"), ("initial", "cancel")])
async def test_what_failed_may_be_resumed_or_ended(alice, training, status, action):
    await call(Training.objects.filter(id=training.id).update, status=status, reason="because", failures=3)

    assert (await alice.post(url(training, action))).status_code == 202

    row = await row_of(training)
    assert row.status == ("ongoing" if action == "resume" else "cancelled")
    assert row.failures == (0 if action == "resume" else 3), "a resumed training may fail as often as a new one"


@pytest.mark.parametrize("action", ["start", "pause", "resume", "cancel"])
async def test_only_its_actor_and_root_steer_a_training(bob, mallory, root, training, action):
    async with nothing_changes():
        refused(await bob.post(url(training, action)), 403, "permission_denied", "Only the actor")
        refused(await mallory.post(url(training, action)), 404, "not_found")
    assert (await root.post(url(training, action))).status_code in (202, 409)


async def test_clients_are_added_in_join_order(alice, carol, person_dave, training):
    answer = shown(await alice.put(url(training, "clients"), json={"clients": ["dave", "bob"]}), Detail, 202)

    assert answer.detail == "Users registered as participants!"
    rows = await read(lambda: list(Participation.objects.values_list("client__username", "ordinal", "active")))
    assert rows == [("bob", 0, True), ("carol", 1, True), ("dave", 2, True)]


@pytest.fixture
def person_dave(person):
    return person("dave", client=True)


async def test_who_joins_a_running_training_takes_part_from_the_next_round_on(
    alice, bob, carol, person_dave, make_training
):
    training = await call(lambda: start(make_training(bob, carol, rounds=2)))
    await alice.put(url(training, "clients"), json={"clients": ["dave"]})

    assert (await person_dave.post("/api/tasks/next/", json={"instance": "a"})).status_code == 204


async def test_removed_clients_are_no_longer_waited_for(alice, bob, carol, started):
    await upload_and_report(bob, await call(lease, bob), update())
    task = await call(lease, carol)

    answer = await alice.request("DELETE", url(started, "clients"), json={"clients": ["carol"]})

    assert shown(answer, Detail).detail == "Users removed from training participants!"
    assert (await read(Task.objects.get, id=task.id)).reason == "the client was removed from the training"
    assert isinstance(await call(settle, started), Aggregate)


async def test_the_round_closes_when_the_last_client_that_is_missing_is_removed(
    orchestrator, alice, bob, carol, training
):
    await began(alice, training)
    await upload_and_report(bob, (await take(bob))["id"], update())

    await alice.request("DELETE", url(training, "clients"), json={"clients": [carol.id]})

    record = await until(alice, training, lambda record: record["rounds_done"] == 1)
    assert (record["version"], record["participants"]) == (1, [bob.id])
    assert [client["active"] for client in record["clients"]] == [True, False]


async def test_who_has_closed_their_account_can_be_removed(alice, bob, training):
    bob.user.is_active = False
    await call(bob.user.save)

    assert (await alice.request("DELETE", url(training, "clients"), json={"clients": ["bob"]})).status_code == 200
    assert not (await read(Participation.objects.get, client=bob.user)).active


async def test_to_remove_who_takes_no_part_changes_nothing(alice, mallory, training):
    async with nothing_changes():
        answer = await alice.request("DELETE", url(training, "clients"), json={"clients": ["mallory"]})
        assert shown(answer, Detail).detail == "Users removed from training participants!"


async def test_what_a_removed_client_reported_stays(alice, bob, carol, started):
    await upload_and_report(bob, await call(lease, bob), update())
    await alice.request("DELETE", url(started, "clients"), json={"clients": ["bob"]})
    await upload_and_report(carol, await call(lease, carol), update(2.0))
    await call(settle, started)

    accepted = (await read(Round.objects.get)).accepted
    assert [(ordinal, digest) for ordinal, digest, _ in accepted] == [(0, update().digest), (1, update(2.0).digest)]


async def test_who_comes_back_has_the_old_place(alice, bob, carol, training):
    await alice.request("DELETE", url(training, "clients"), json={"clients": ["bob"]})
    await alice.put(url(training, "clients"), json={"clients": ["bob"]})

    rows = await read(lambda: list(Participation.objects.values_list("client__username", "ordinal", "active")))
    assert rows == [("bob", 0, True), ("carol", 1, True)]


async def test_nobody_joins_what_is_over(alice, training, clock):
    await call(trainings.cancel, training_id=training.id, now=clock.now)

    async with nothing_changes():
        refused(
            await alice.put(url(training, "clients"), json={"clients": ["bob"]}), 409, "wrong_state", "nobody can join"
        )


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "clients"),
        ({"clients": []}, "clients"),
        ({"clients": "bob"}, "clients"),
        ({"clients": ["bob"], "x": 1}, "x"),
    ],
)
async def test_refuses_a_list_that_is_not_as_the_protocol_says(alice, training, method, body, field):
    async with nothing_changes():
        refused_field(await alice.request(method, url(training, "clients"), json=body), field)


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_names_that_are_no_clients_are_refused(alice, training, method):
    async with nothing_changes():
        response = await alice.request(method, url(training, "clients"), json={"clients": ["bob", "nobody"]})
        refused(response, 404, "not_found", "'nobody'")


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_only_its_actor_and_root_name_clients(bob, mallory, root, training, method):
    body = {"clients": ["bob"]}
    async with nothing_changes():
        refused(await bob.request(method, url(training, "clients"), json=body), 403, "permission_denied")
        refused(await mallory.request(method, url(training, "clients"), json=body), 404, "not_found")
    assert (await root.request(method, url(training, "clients"), json=body)).status_code in (200, 202)
