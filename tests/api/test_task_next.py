"""POST /api/tasks/next/: a client asks for work."""

from datetime import datetime

import pytest
from django.utils import timezone

from hansa.core.seeds import client_seed
from hansa.protocol.tasks import Task as TaskMessage
from hansa.protocol.tasks import TaskKind
from hansa.server.accounts.models import User
from hansa.server.lifecycle.bridge import call, read
from hansa.server.registry.models import ModelVersion
from hansa.server.trainings.models import Task
from hansa.server.trainings.services import leasing, trainings
from support.answers import nothing_changes, refused, refused_field, shown
from support.work import INSTANCE, lease, settle, start, update, upload_and_report

URL = "/api/tasks/next/"


async def test_leases_the_task_and_says_all_that_the_client_needs(bob, started):
    task = shown(await bob.post(URL, json={"instance": INSTANCE}), TaskMessage)

    row = await read(Task.objects.get, participation__client=bob.user)
    version = await read(ModelVersion.objects.select_related("blob").get, model=started.model_id)
    assert task == TaskMessage(
        id=str(row.id),
        kind=TaskKind.TRAIN,
        training=str(started.id),
        round=1,
        rounds=2,
        attempt=1,
        model=str(started.model_id),
        version=0,
        digest=version.blob_id,
        size=version.blob.size,
        ordinal=0,
        seed=client_seed(7, 1, 0),
        config={"epochs": 1, "client_lr": None, "momentum": None, "proximal_mu": 0.0},
        lease_seconds=60.0,
        params=f"/api/models/{started.model_id}/versions/0/params/",
        protocol=1,
    )


async def test_a_leased_task_is_known_to_be_alive_for_a_minute(bob, started, clock):
    await bob.post(URL, json={"instance": INSTANCE})

    row = await read(Task.objects.get, participation__client=bob.user)
    assert (row.state, row.instance, row.leased_at) == ("leased", INSTANCE, clock.now)
    assert (row.lease_until - clock.now).total_seconds() == 60
    assert (await read(User.objects.get, id=bob.id)).last_seen == clock.now


async def test_the_plans_client_configuration_reaches_the_client(bob, make_training):
    plan = {"client": {"epochs": 3, "client_lr": 0.05, "momentum": 0.9, "proximal_mu": 0.1, "extra": {"augment": True}}}
    await call(lambda: start(make_training(bob, **plan)))

    task = shown(await bob.post(URL, json={"instance": INSTANCE}), TaskMessage)

    assert task.config == {"epochs": 3, "client_lr": 0.05, "momentum": 0.9, "proximal_mu": 0.1, "augment": True}


async def test_every_client_has_a_task_of_its_own_in_join_order(bob, carol, started):
    first = shown(await bob.post(URL, json={"instance": INSTANCE}), TaskMessage)
    second = shown(await carol.post(URL, json={"instance": INSTANCE}), TaskMessage)

    assert [first.ordinal, second.ordinal] == [0, 1]
    assert first.id != second.id
    assert first.seed != second.seed


async def test_there_is_nothing_to_do_before_the_training_has_started(bob, training):
    response = await bob.post(URL, json={"instance": INSTANCE})

    assert (response.status_code, response.content) == (204, b"")


async def test_a_task_is_not_offered_to_somebody_who_does_not_take_part(mallory, started):
    async with nothing_changes():
        assert (await mallory.post(URL, json={"instance": INSTANCE})).status_code == 204


async def test_a_removed_participant_gets_nothing(bob, started):
    await call(trainings.remove_clients, training_id=started.id, clients=[bob.user])

    assert (await bob.post(URL, json={"instance": INSTANCE})).status_code == 204


async def test_a_paused_training_hands_out_nothing_until_it_is_resumed(bob, started, clock):
    await call(trainings.pause, training_id=started.id)
    assert (await bob.post(URL, json={"instance": INSTANCE})).status_code == 204

    await call(trainings.resume, training_id=started.id, now=clock.now)
    assert (await bob.post(URL, json={"instance": INSTANCE})).status_code == 200


async def test_the_same_instance_gets_its_task_again_after_a_restart(bob, started, clock):
    first = shown(await bob.post(URL, json={"instance": INSTANCE}), TaskMessage)
    leased_at = clock.now
    clock.advance(30)

    again = shown(await bob.post(URL, json={"instance": INSTANCE}), TaskMessage)

    assert again == first
    row = await read(Task.objects.get, id=first.id)
    assert row.leased_at == leased_at
    assert (row.lease_until - clock.now).total_seconds() == 60


async def test_a_second_instance_with_the_same_token_does_not_get_a_leased_task(bob, bobs_task):
    async with nothing_changes():
        assert (await bob.post(URL, json={"instance": "desktop"})).status_code == 204


async def test_a_second_instance_gets_the_task_once_its_lease_has_expired(bob, carol, started, clock):
    first = shown(await bob.post(URL, json={"instance": INSTANCE}), TaskMessage)
    clock.advance(30)
    await carol.post(URL, json={"instance": INSTANCE})
    clock.advance(31)
    await call(settle, started)

    second = shown(await bob.post(URL, json={"instance": "desktop"}), TaskMessage)

    assert second == first
    row = await read(Task.objects.get, id=first.id)
    assert (row.instance, row.leased_at) == ("desktop", clock.now)


async def test_a_reported_task_is_not_offered_again(bob, bobs_task):
    await upload_and_report(bob, bobs_task, update())

    assert (await bob.post(URL, json={"instance": INSTANCE})).status_code == 204


async def test_the_oldest_round_comes_first_when_a_client_takes_part_in_several(bob, make_training, clock):
    first = await call(lambda: start(make_training(bob)))
    clock.advance(1)
    second = await call(lambda: start(make_training(bob)))

    older = shown(await bob.post(URL, json={"instance": INSTANCE}), TaskMessage)
    await upload_and_report(bob, older.id, update())
    newer = shown(await bob.post(URL, json={"instance": INSTANCE}), TaskMessage)

    assert [older.training, newer.training] == [str(first.id), str(second.id)]


async def test_a_client_that_waits_for_work_is_shown_as_seen(alice, bob, training, clock):
    await bob.post(URL, json={"instance": INSTANCE})

    clients = (await alice.get("/api/clients/")).json()
    seen = [client["last_seen"] for client in clients if client["username"] == "bob"]
    assert [datetime.fromisoformat(text) for text in seen] == [clock.now]
    assert (await read(User.objects.get, id=bob.id)).last_seen is None, "waiting must not cost a write"


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ({}, "instance", "required"),
        ({"instance": ""}, "instance", "length >= 1"),
        ({"instance": "x" * 65}, "instance", "length <= 64"),
        ({"instance": 7}, "instance", "Expected `str`, got `int`"),
        ({"instance": "a", "protocol": "one"}, "protocol", "Expected `int`"),
        ({"instance": "a", "colour": "red"}, "colour", "no such field"),
        ([], "non_field_errors", "Expected `object`, got `array`"),
    ],
)
async def test_refuses_a_message_that_is_not_as_the_protocol_says(bob, started, body, field, words):
    async with nothing_changes():
        refused_field(await bob.post(URL, json=body), field, words)


@pytest.mark.parametrize("body", [b"{", b"\xff\xfe", b'{"instance": NaN}'])
async def test_refuses_a_body_that_is_not_json(bob, started, body):
    async with nothing_changes():
        response = await bob.post(URL, content=body, headers={"Content-Type": "application/json"})
        refused(response, 400, "invalid", "not valid JSON", "Send one JSON object")


async def test_refuses_another_media_type(bob, started):
    async with nothing_changes():
        response = await bob.post(URL, content=b"instance=a", headers={"Content-Type": "text/plain"})
        refused(response, 415, "unsupported_media_type", "text/plain", "send application/json")


@pytest.mark.parametrize("wait", ["121", "-1", "nan", "inf", "soon", ""])
async def test_refuses_a_wait_that_is_not_from_0_to_120_seconds(bob, started, wait):
    async with nothing_changes():
        response = await bob.post(f"{URL}?wait={wait}", json={"instance": INSTANCE})
        refused_field(response, "wait", repr(wait), "0 to 120")


async def test_refuses_a_message_of_more_than_64_kibibytes(bob, started):
    async with nothing_changes():
        response = await bob.post(URL, json={"instance": "x" * 2**16})
        refused(response, 413, "too_large", "65,536")


async def test_nobody_gets_a_task_without_credentials(nobody, started):
    response = await nobody.post(URL, json={"instance": INSTANCE})

    refused(response, 401, "not_authenticated", "credentials")
    assert response.headers["WWW-Authenticate"] == "Token"


def test_the_lease_of_a_task_that_somebody_else_has_just_taken_is_not_given_twice(bob, started):
    assert lease(bob).state == "leased"

    assert leasing.lease_next(user_id=bob.user.id, instance="desktop", now=timezone.now()) is None


def test_a_task_of_a_training_whose_turn_was_not_taken_is_found_at_a_second_look(
    bob, make_training, clock, monkeypatch
):
    """PostgreSQL: while we waited for the turn at the older training, somebody else was given its task."""
    older = start(make_training(bob))
    clock.advance(1)
    newer = start(make_training(bob))
    turns = []

    def outrun(asks):
        if not turns:
            Task.objects.filter(round__training=older).update(state="closed")
        turns.append({older.id} if not turns else {newer.id})
        return turns[-1]

    monkeypatch.setattr(leasing, "_take_turns", outrun)
    nobody = leasing.Ask(older.actor_id, INSTANCE)

    given = leasing.lease([nobody, leasing.Ask(bob.user.id, INSTANCE)], now=timezone.now())

    assert given == [None, Task.objects.get(round__training=newer).id]
    assert len(turns) == 2
