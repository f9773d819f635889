"""Bytes that a disk has lost or changed: what depended on them is made again or asked for again, never guessed."""

import asyncio
import json
import logging
from uuid import uuid4

import pytest

from hansa.rounds.decide import MAX_FAILURES
from hansa.server.accounts.models import User
from hansa.server.blobs import doubts, inspection, store
from hansa.server.blobs.inspection import Damage, Wrong
from hansa.server.blobs.models import Blob
from hansa.server.doctor import blobs as doctor
from hansa.server.lifecycle.bridge import call, read
from hansa.server.notifications.models import Notification
from hansa.server.ops.logs import JSONLines
from hansa.server.registry.models import ModelVersion
from hansa.server.trainings import dependants, mending
from hansa.server.trainings.models import Round, Task, Training, Update
from hansa.server.trainings.services import aggregation, rounds, torn, trainings
from support.answers import refused
from support.damage import aside, cut_off, flip_a_bit, hit_the_header, take_away
from support.federation import ended, orchestrating, params_of, rounds_of, take, until
from support.moments import moments
from support.work import add_up, lease, report_of, settle, start, update, upload, upload_and_report

pytestmark = pytest.mark.usefixtures("soon")

ALL_DAMAGE = pytest.mark.parametrize("harm", [flip_a_bit, hit_the_header, cut_off, take_away])


async def closed_round(make_training, *clients, **plan):
    """A training whose first round has closed: the first client has sent update(1.0), the second update(2.0)."""
    training = await call(lambda: start(make_training(*clients, **plan)))
    for number, client in enumerate(clients, start=1):
        await upload_and_report(client, await call(lease, client), update(float(number)))
    await call(settle, training)
    return training


async def a_round(training, clients, *adds):
    """Do what there is to do of a round, up to its version."""
    await call(settle, training)
    for client, add in zip(clients, adds, strict=True):
        await upload_and_report(client, await call(lease, client), update(add))
    await call(settle, training)
    await call(add_up, training)


async def version(training, number):
    return await read(ModelVersion.objects.get, model_id=training.model_id, number=number)


@pytest.fixture
def told(request):
    """The lines of the log, as programs read them."""
    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(json.loads(JSONLines().format(record)))
    logger = logging.getLogger("hansa.server")
    logger.addHandler(handler)
    yield lines
    logger.removeHandler(handler)


async def states(training):
    rows = Round.objects.filter(training=training).order_by("number", "attempt")
    return await read(lambda: [(row.number, row.attempt, row.state) for row in rows])


# Updates


async def test_what_the_log_tells_of_a_loss_has_its_trainings_key(bob, carol, make_training, told):
    training = await closed_round(make_training, bob, carol)
    flip_a_bit(update(1.0).digest)

    await mending.attend(update(1.0).digest)

    (line,) = [line for line in told if "is damaged" in line["message"]]
    assert line["training"] == str(training.id)


async def test_so_has_what_it_tells_of_a_version_that_was_computed_again(bob, carol, make_training, told):
    training = await closed_round(make_training, bob, carol, keep_updates=9)
    await call(add_up, training)
    flip_a_bit((await version(training, 1)).blob_id)

    await mending.attend((await version(training, 1)).blob_id)

    (line,) = [line for line in told if "was computed again" in line["message"]]
    assert (line["training"], line["round"]) == (str(training.id), 1)


@ALL_DAMAGE
async def test_of_a_closed_round_only_the_client_is_asked_again_whose_update_is_lost(
    alice, bob, carol, make_training, home, harm
):
    training = await closed_round(make_training, bob, carol)
    harm(update(1.0).digest)
    async with orchestrating():
        record = await until(alice, training, lambda record: "1 of 2 clients have reported" in record["reason"])
        assert [(each["attempt"], each["reported"]) for each in await rounds_of(alice, training)] == [(1, 1)]

        again = await take(bob)
        assert (again["round"], again["attempt"]) == (1, 1)
        await upload_and_report(bob, again["id"], update(1.0))
        record = await ended(alice, training)

    assert (record["status"], record["version"]) == ("completed", 1)
    assert (await params_of(alice, record, 1))["fc.bias"].tolist() == [1.5] * 3
    assert len(aside(home)) == (0 if harm is take_away else 1)


async def test_the_record_says_why_the_round_collects_again(alice, bob, carol, make_training):
    training = await closed_round(make_training, bob, carol)
    flip_a_bit(update(1.0).digest)

    await mending.attend(update(1.0).digest)

    (round_,) = await rounds_of(alice, training)
    assert "what a client had sent is asked for again" in round_["reason"]
    assert update(1.0).digest in round_["reason"]
    assert round_["closing_reason"] == "", "it is open again"
    task = await read(Task.objects.get, participation__client=bob.user)
    assert (task.state, task.uploaded_id, task.num_examples) == ("offered", None, None)
    assert "does not match its checksum" in task.reason
    assert not await read(Update.objects.filter(task=task).exists)


async def test_a_damaged_file_is_set_aside_with_its_reason(bob, carol, make_training, home):
    await closed_round(make_training, bob, carol)
    flip_a_bit(update(1.0).digest)
    damaged = store.path_of(update(1.0).digest).read_bytes()

    await mending.attend(update(1.0).digest)

    (kept,) = aside(home)
    assert kept.read_bytes() == damaged
    assert update(1.0).digest in kept.with_name(kept.name + ".txt").read_text()
    assert not store.path_of(update(1.0).digest).exists()


async def test_what_was_set_aside_before_stays(bob, carol, make_training, home):
    await closed_round(make_training, bob, carol)
    digest = update(1.0).digest
    damage = Damage(digest, Wrong.BYTES, "for a test")
    content = store.path_of(digest).read_bytes()
    for number in range(1, 4):
        store.path_of(digest).write_bytes(content + bytes([number]))
        assert inspection.set_aside(damage).name == f"{digest}-{number}"
    (home / "damaged" / f"{digest}-1.txt").unlink()
    (home / "damaged" / f"{digest}-2").unlink()

    store.path_of(digest).write_bytes(content)
    assert inspection.set_aside(damage).name == f"{digest}-4", "also where a reason, or a file, was deleted"
    assert [path.name[-1] for path in aside(home)] == ["1", "3", "4"]


async def test_attended_to_twice_is_attended_to_once(bob, carol, make_training):
    training = await closed_round(make_training, bob, carol)
    flip_a_bit(update(1.0).digest)
    await mending.attend(update(1.0).digest)
    before = await states(training)

    await mending.attend(update(1.0).digest)

    assert await states(training) == before
    assert (await read(Training.objects.get, id=training.id)).failures == 1


async def test_nobody_places_a_file_anew_while_its_rows_are_withdrawn(bob, carol, make_training, monkeypatch):
    training = await closed_round(make_training, bob, carol)
    digest = update(1.0).digest
    take_away(digest)
    withdraw, held = torn.withdraw, []

    def withdrawn(**given):
        held.append(store.lock(digest).locked())
        withdraw(**given)

    monkeypatch.setattr(torn, "withdraw", withdrawn)
    with_results = mending.dependants.with_results

    def sent_first(digest):
        assert store.lock(digest).locked(), "whoever places the file waits until its rows are withdrawn"
        return with_results(digest)

    monkeypatch.setattr(mending.dependants, "with_results", sent_first)
    await mending.attend(digest)

    assert held == [True]
    assert await states(training) == [(1, 1, "collecting")]


async def test_what_is_whole_is_left_alone(bob, carol, make_training, home):
    training = await closed_round(make_training, bob, carol)

    assert await mending.attend(update(1.0).digest) is None

    assert (await read(Round.objects.get, training=training)).state == "aggregating"
    assert aside(home) == []


async def test_while_the_round_collects_the_client_is_asked_again_and_waited_for(
    alice, bob, carol, make_training, clock
):
    training = await call(lambda: start(make_training(bob, carol)))
    await upload_and_report(bob, await call(lease, bob), update(1.0))
    clock.advance(3000)  # of carol's long work
    take_away(update(1.0).digest)
    await mending.attend(update(1.0).digest)

    await upload_and_report(carol, await call(lease, carol), update(2.0))
    assert "1 of 2 clients have reported" in (await call(settle, training)).reason

    await upload_and_report(bob, await call(lease, bob), update(1.0))
    await call(settle, training)
    await call(add_up, training)
    assert await states(training) == [(1, 1, "done")]


async def test_a_push_client_is_told_of_its_task_anew(bob, carol, make_training):
    await call(User.objects.filter(id=bob.user.id).update, message_endpoint="http://bob.example/notify")
    training = await call(lambda: start(make_training(bob, carol)))
    task = await call(lease, bob)
    told = Notification.objects.filter(subject=task.id)
    assert await call(told.update, state="delivered") == 1
    await upload_and_report(bob, task, update(1.0))
    take_away(update(1.0).digest)

    await mending.attend(update(1.0).digest)
    await mending.attend(update(1.0).digest)

    assert await read(lambda: [each.state for each in told]) == ["pending"]
    assert await read(lambda: Notification.objects.filter(queue=training.id, state="delivered").count()) == 1


async def test_an_upload_that_was_not_reported_is_sent_again(bob, carol, make_training):
    await call(lambda: start(make_training(bob, carol)))
    task = await call(lease, bob)
    await upload(bob, task, update(1.0))
    flip_a_bit(update(1.0).digest)
    await mending.attend(update(1.0).digest)

    answer = await bob.post(f"/api/tasks/{task.id}/report/", json=report_of(update(1.0)))
    refused(answer, 409, "upload_incomplete")
    await upload_and_report(bob, task, update(1.0))


async def test_an_upload_whose_file_is_gone_is_not_said_to_be_here(bob, carol, make_training):
    await call(lambda: start(make_training(bob, carol)))
    task = await call(lease, bob)
    await upload(bob, task, update(1.0))
    take_away(update(1.0).digest)

    held = await bob.head(f"/api/tasks/{task.id}/update/{update(1.0).digest}/")

    assert held.headers["upload-offset"] == "0"


@pytest.fixture
def three(person):
    """Three clients, in join order."""
    return [person(name, client=True) for name in ("dora", "emil", "fred")]


async def test_those_without_whom_the_round_had_closed_may_come_after_all(three, make_training):
    training = await call(lambda: start(make_training(*three, closing={"quorum": 2, "min_reports": 2})))
    held = [await call(lease, client) for client in three]
    for client, task, add in zip(three[:2], held[:2], (1.0, 2.0), strict=True):
        await upload_and_report(client, task, update(add))
    await call(settle, training)
    take_away(update(1.0).digest)
    await mending.attend(update(1.0).digest)

    await upload_and_report(three[2], held[2], update(4.0))
    await call(settle, training)
    await call(add_up, training)

    accepted = (await read(Round.objects.get, training=training)).accepted
    assert [ordinal for ordinal, _, _ in accepted] == [1, 2]


@pytest.mark.parametrize("gives_back", [False, True])
async def test_a_client_pays_once_for_a_task_it_has_lost_and_not_for_one_the_servers_disk_has_lost(
    three, make_training, gives_back
):
    """The third is at work while the round closes for the first time: it has lost nothing. Or it had given up: once."""
    plan = {"closing": {"quorum": 2, "min_reports": 2}, "participation": {"exclude_after": 1 + gives_back}}
    training = await call(lambda: start(make_training(*three, rounds=3, **plan)))
    *held, slow = [await call(lease, client) for client in three]
    if gives_back:
        await three[2].post(f"/api/tasks/{slow.id}/release/", json={"reason": "not now", "failed": False})
    for client, task, add in zip(three[:2], held, (1.0, 2.0), strict=True):
        await upload_and_report(client, task, update(add))
    await call(settle, training)
    take_away(update(1.0).digest)
    await mending.attend(update(1.0).digest)
    await upload_and_report(three[0], await call(lease, three[0]), update(1.0))
    await call(settle, training)

    assert await states(training) == [(1, 1, "aggregating")]
    conduct = await read(training.participations.get, client=three[2].user)
    assert (conduct.failures, conduct.excluded) == (int(gives_back), "")


async def test_a_task_that_is_taken_and_lost_before_and_after_the_servers_disk_lost_another_is_one_failure(
    three, make_training
):
    plan = {"closing": {"quorum": 2, "min_reports": 2}, "participation": {"exclude_after": 2}}
    training = await call(lambda: start(make_training(*three, rounds=3, **plan)))
    first, second, third = [await call(lease, client) for client in three]
    given_up = {"reason": "not now", "failed": False}
    await three[2].post(f"/api/tasks/{third.id}/release/", json=given_up)
    await upload_and_report(three[0], first, update(1.0))
    await upload_and_report(three[1], second, update(2.0))
    await call(settle, training)
    take_away(update(1.0).digest)
    await mending.attend(update(1.0).digest)
    assert (await call(lease, three[2])).id == third.id, "it is let in again"
    await three[2].post(f"/api/tasks/{third.id}/release/", json=given_up)
    await upload_and_report(three[0], await call(lease, three[0]), update(1.0))
    await call(settle, training)

    assert await states(training) == [(1, 1, "aggregating")]
    conduct = await read(training.participations.get, client=three[2].user)
    assert (conduct.failures, conduct.excluded) == (1, "")


async def test_a_disk_that_loses_everything_ends_the_training_with_the_reason(bob, carol, make_training):
    training = await closed_round(make_training, bob, carol)
    for _ in range(2):
        take_away(update(1.0).digest)
        await mending.attend(update(1.0).digest)
        await upload_and_report(bob, await call(lease, bob), update(1.0))
        await call(settle, training)
    take_away(update(1.0).digest)
    await mending.attend(update(1.0).digest)
    await call(settle, training)

    await read(training.refresh_from_db)
    assert training.status == "error"
    assert "its file is not in the store" in training.reason


async def test_who_computed_with_what_was_lost_gives_up_nothing_of_the_round_that_collects_again(
    bob, carol, make_training, clock
):
    training = await closed_round(make_training, bob, carol)
    job = await call(aggregation.claim, training_id=training.id, now=clock.now)
    take_away(update(1.0).digest)
    await mending.attend(update(1.0).digest)

    reason = {"reason": "the mean is not finite", "now": clock.now}
    assert not await call(rounds.give_up, training_id=training.id, claim=job.claim, **reason)

    assert await states(training) == [(1, 1, "collecting")]
    await upload_and_report(bob, await call(lease, bob), update(1.0))
    await call(settle, training)
    assert not await call(rounds.give_up, training_id=training.id, claim=job.claim, **reason), "it is another's now"
    await call(add_up, training)


async def test_a_round_whose_list_cannot_be_read_is_its_claimants_to_give_up(bob, carol, make_training, clock):
    training = await closed_round(make_training, bob, carol)
    await call(Update.objects.filter(digest=update(1.0).digest).update, blob=None)
    token = uuid4()
    with pytest.raises(aggregation.MissingUpdateError, match="not in the store"):
        await call(aggregation.claim, training_id=training.id, now=clock.now, token=token)

    assert await call(aggregation.claim, training_id=training.id, now=clock.now) is None, "it is held"
    assert await call(rounds.give_up, training_id=training.id, claim=token, reason="gone", now=clock.now)
    assert await states(training) == [(1, 1, "abandoned")]


async def test_moments_are_asked_for_again(bob, carol, make_training):
    training = await closed_round(make_training, bob, carol, uncertainty={"method": "swag"})
    await call(add_up, training)
    for client, add in ((bob, 1.0), (carol, 3.0)):
        await upload(client, task := await call(lease, client), moments(add))
        body = {**report_of(moments(add)), "metrics": {}}
        assert (await client.post(f"/api/tasks/{task.id}/report/", json=body)).status_code == 200
    await call(settle, training)
    assert await states(training) == [(1, 1, "combining")]
    flip_a_bit(moments(3.0).digest)

    await mending.attend(moments(3.0).digest)
    assert await states(training) == [(1, 1, "swag")]

    await upload(carol, task := await call(lease, carol), moments(3.0))
    body = {**report_of(moments(3.0)), "metrics": {}}
    assert (await carol.post(f"/api/tasks/{task.id}/report/", json=body)).status_code == 200
    await call(settle, training)
    await call(add_up, training)
    assert await states(training) == [(1, 1, "done")]
    assert (await version(training, 1)).moments_id is not None


async def test_moments_that_are_lost_each_time_they_come_are_done_without(bob, make_training):
    training = await closed_round(make_training, bob, uncertainty={"method": "swag"})
    await call(add_up, training)
    for number in range(MAX_FAILURES):
        assert await states(training) == [(1, 1, "swag")], number
        await send_moments(bob, training)
        take_away(moments(1.0).digest)
        await mending.attend(moments(1.0).digest)
        await call(settle, training)

    assert await states(training) == [(1, 1, "done")]
    made = await read(Round.objects.get, training=training)
    assert "they were lost again and again" in made.moments_reason
    assert (await version(training, 1)).moments_id is None
    await read(training.refresh_from_db)
    assert (training.status, training.failures) == ("completed", 0)


async def send_moments(client, training):
    await upload(client, task := await call(lease, client), moments(1.0))
    body = {**report_of(moments(1.0)), "metrics": {}}
    assert (await client.post(f"/api/tasks/{task.id}/report/", json=body)).status_code == 200
    await call(settle, training)


async def test_results_that_are_lost_each_time_they_come_end_the_training_also_while_the_round_collects(
    bob, carol, make_training, clock
):
    training = await call(lambda: start(make_training(bob, carol)))
    for _ in range(MAX_FAILURES):
        clock.advance(1)
        await upload_and_report(bob, await call(lease, bob), update(1.0))
        take_away(update(1.0).digest)
        await mending.attend(update(1.0).digest)
    await call(settle, training)

    await read(training.refresh_from_db)
    assert training.status == "error"
    assert "its file is not in the store" in training.reason


@pytest.fixture
def five(person):
    return [person(f"client{number}", client=True) for number in range(5)]


async def test_many_files_lost_at_once_are_one_loss(bob, five, make_training, clock):
    training = await call(lambda: start(make_training(*five, bob)))
    for number, client in enumerate(five):
        await upload_and_report(client, await call(lease, client), update(float(number + 1)))
    clock.advance(1)
    for number in range(5):
        take_away(update(float(number + 1)).digest)
    for number in range(5):
        await mending.attend(update(float(number + 1)).digest)
        await call(settle, training)

    await read(training.refresh_from_db)
    assert (training.status, training.failures) == ("ongoing", 1)
    assert await read(Task.objects.filter(state="offered").count) == 6


# Versions


async def test_a_version_that_is_lost_each_time_it_is_made_ends_the_training(bob, carol, make_training):
    training = await call(lambda: start(make_training(bob, carol, rounds=2)))
    for _ in range(MAX_FAILURES):
        await a_round(training, (bob, carol), 1.0, 2.0)
        await call(settle, training)
        made = (await version(training, 1)).blob_id
        take_away(made)
        await mending.attend(made)
    await call(settle, training)

    await read(training.refresh_from_db)
    assert training.status == "error"
    assert "round 1 was tried 3 times" in training.reason
    assert "version 1 is lost" in training.reason


@ALL_DAMAGE
async def test_a_version_whose_updates_are_kept_is_computed_again(alice, bob, carol, make_training, harm):
    training = await closed_round(make_training, bob, carol, evaluation={"every": 1})
    await call(add_up, training)
    made = (await version(training, 1)).blob_id
    content = store.path_of(made).read_bytes()
    harm(made)

    await mending.attend(made)

    assert store.path_of(made).read_bytes() == content
    assert await states(training) == [(1, 1, "evaluating")]
    assert (await version(training, 1)).lost == ""


@ALL_DAMAGE
async def test_a_version_whose_updates_are_gone_is_trained_again_from_the_one_before(
    alice, bob, carol, make_training, harm
):
    undisturbed = await call(lambda: start(make_training(bob, carol, rounds=2)))
    for adds in ((1.0, 2.0), (3.0, 4.0)):
        await a_round(undisturbed, (bob, carol), *adds)
    expected = [(await version(undisturbed, number)).blob_id for number in (1, 2)]

    training = await call(lambda: start(make_training(bob, carol, rounds=2)))
    await a_round(training, (bob, carol), 1.0, 2.0)
    await call(settle, training)
    made = (await version(training, 1)).blob_id
    harm(made)
    await mending.attend(made)

    assert await states(training) == [(1, 1, "abandoned"), (2, 1, "abandoned")]
    lost = await version(training, 1)
    assert "version 1 is lost" in lost.lost
    refused(await alice.get(f"/api/models/{training.model_id}/versions/1/params/"), 503, "blob_damaged")
    assert (await alice.get(f"/api/trainings/{training.id}/")).json()["version"] == 0

    await a_round(training, (bob, carol), 1.0, 2.0)
    await a_round(training, (bob, carol), 3.0, 4.0)
    assert await states(training) == [
        (1, 1, "abandoned"),
        (1, 2, "done"),
        (2, 1, "abandoned"),
        (2, 2, "done"),
    ]
    assert [(await version(training, number)).blob_id for number in (1, 2)] == expected
    assert (await version(training, 1)).lost == ""


async def test_where_the_version_before_is_gone_as_well_the_training_stops_and_says_what_to_put_back(
    alice, bob, carol, make_training
):
    training = await call(lambda: start(make_training(bob, carol)))
    first = (await version(training, 0)).blob_id
    path = store.path_of(first)
    content = path.read_bytes()
    take_away(first)
    await mending.attend(first)

    record = (await alice.get(f"/api/trainings/{training.id}/")).json()
    assert record["status"] == "error"
    assert str(path.relative_to(store.home())) in record["reason"]
    assert "from a backup" in record["reason"]

    path.write_bytes(content)
    await alice.post(f"/api/trainings/{training.id}/resume/")
    await a_round(training, (bob, carol), 1.0, 2.0)
    assert (await alice.get(f"/api/trainings/{training.id}/")).json()["status"] == "completed"


async def test_a_file_that_is_put_back_while_its_loss_is_settled_stops_nothing(bob, carol, make_training, monkeypatch):
    """Its loss is found, and before anything comes of that somebody has put it back and resumed the training."""
    training = await call(lambda: start(make_training(bob, carol)))
    begun = (await version(training, 0)).blob_id
    content = store.path_of(begun).read_bytes()
    take_away(begun)
    await mending.attend(begun)
    needing = mending.dependants.needing

    def put_back_first(digest):
        store.path_of(begun).write_bytes(content)
        Training.objects.filter(id=training.id).update(status="ongoing")
        return needing(digest)

    monkeypatch.setattr(mending.dependants, "needing", put_back_first)
    await mending.attend(begun)

    await read(training.refresh_from_db)
    assert training.status == "ongoing"


async def test_two_versions_lost_at_once_are_no_reason_to_guess(bob, carol, make_training):
    training = await call(lambda: start(make_training(bob, carol, rounds=3)))
    for adds in ((1.0, 2.0), (3.0, 4.0)):
        await a_round(training, (bob, carol), *adds)
    for number in (1, 2):
        take_away((await version(training, number)).blob_id)
    await mending.attend((await version(training, 2)).blob_id)

    await read(training.refresh_from_db)
    assert training.status == "error"
    assert "version 1 before it is damaged as well" in training.reason


async def test_a_version_of_a_training_that_is_over_is_refused_and_nothing_moves(alice, bob, carol, make_training):
    training = await closed_round(make_training, bob, carol)
    await call(add_up, training)
    made = (await version(training, 1)).blob_id
    flip_a_bit(made)

    refused(await alice.get(f"/api/models/{training.model_id}/versions/1/params/"), 503, "blob_damaged")
    await mending.attend(made)

    await read(training.refresh_from_db)
    assert (training.status, await states(training)) == ("completed", [(1, 1, "done")])
    refused(await alice.get(f"/api/models/{training.model_id}/versions/1/params/"), 503, "blob_damaged")


async def test_a_local_model_that_is_lost_on_its_way_begins_the_chain_anew(bob, carol, make_training):
    plan = {"rounds": 2, "daisy_chain": {"period": 2}}
    training = await closed_round(make_training, bob, carol, **plan)
    assert await states(training) == [(1, 1, "done"), (2, 1, "collecting")]
    flip_a_bit(update(1.0).digest)

    await mending.attend(update(1.0).digest)
    assert await states(training) == [(1, 1, "abandoned"), (2, 1, "abandoned")]

    await call(settle, training)
    for number in (1, 2):
        for client, add in ((bob, 1.0), (carol, 2.0)):
            task = await call(lease, client)
            assert task.round.number == number
            await upload_and_report(client, task, update(add))
        await call(settle, training)
    await call(add_up, training)
    assert (await states(training))[-1] == (2, 2, "done")


async def test_an_upload_that_cannot_be_compared_with_its_base_is_tried_again_later(bob, carol, make_training):
    training = await call(lambda: start(make_training(bob, carol)))
    task = await call(lease, bob)
    first = (await version(training, 0)).blob_id
    content = store.path_of(first).read_bytes()
    flip_a_bit(first)

    url = f"/api/tasks/{task.id}/update/{update(1.0).digest}/"
    refused(await bob.put(url, content=update(1.0).content), 503, "blob_damaged")

    store.path_of(first).write_bytes(content)
    await upload_and_report(bob, task, update(1.0))


# What finds it


async def test_checksums_that_were_damaged_in_the_row_cost_nothing(bob, carol, make_training, home):
    training = await closed_round(make_training, bob, carol)
    blob = await read(Blob.objects.get, sha256=update(1.0).digest)
    right = bytes(blob.checksums)
    await call(Blob.objects.filter(sha256=blob.sha256).update, checksums=bytes(8))

    assert await mending.attend(blob.sha256) is None

    assert bytes((await read(Blob.objects.get, sha256=blob.sha256)).checksums) == right
    assert (await states(training), aside(home)) == ([(1, 1, "aggregating")], [])


@ALL_DAMAGE
async def test_the_sample_after_the_start_finds_what_live_rounds_need(bob, carol, make_training, harm):
    training = await call(lambda: start(make_training(bob, carol)))
    await upload_and_report(bob, await call(lease, bob), update(1.0))
    harm(update(1.0).digest)

    await mending._sample()

    assert (await read(Task.objects.get, participation__client=bob.user, round__training=training)).state == "offered"


async def test_the_sample_is_bounded_and_takes_what_is_needed_first(bob, carol, make_training, monkeypatch):
    await call(lambda: start(make_training(bob, carol)))
    await upload_and_report(bob, await call(lease, bob), update(1.0))
    flip_a_bit(update(1.0).digest)
    monkeypatch.setattr(mending, "SAMPLE_BYTES", len(update(1.0)))

    await mending._sample()

    assert (await read(Task.objects.get, participation__client=bob.user)).state == "offered"


async def test_a_file_that_somebody_has_taken_away_is_missed_without_being_read(bob, carol, make_training):
    await call(lambda: start(make_training(bob, carol)))
    await upload_and_report(bob, await call(lease, bob), update(1.0))
    take_away(update(1.0).digest)

    await mending._sweep()

    assert (await read(Task.objects.get, participation__client=bob.user)).state == "offered"


async def test_what_is_looked_after_is_what_rounds_still_count_on_and_not_all_that_the_plan_keeps(three, make_training):
    """Of a training that keeps everything: a late update, the newest version, and nothing that has counted."""
    plan = {"rounds": 4, "keep_updates": 4, "closing": {"quorum": 2, "min_reports": 2}, "late": {"kind": "fold"}}
    training = await call(lambda: start(make_training(*three, **plan)))
    *held, slow = [await call(lease, client) for client in three]
    for client, task, add in zip(three[:2], held, (1.0, 2.0), strict=True):
        await upload_and_report(client, task, update(add))
    await call(settle, training)
    first = await read(dependants.indispensable)
    assert sorted(first[:2]) == sorted(update(add).digest for add in (1.0, 2.0))
    assert first[2:] == [(await version(training, 0)).blob_id]

    await call(add_up, training)
    await upload_and_report(three[2], slow, update(3.0))
    newest = (await version(training, 1)).blob_id
    assert await read(dependants.indispensable) == [update(3.0).digest, newest]

    await a_round(training, three[:2], 4.0, 5.0)
    assert await read(dependants.indispensable) == [(await version(training, 2)).blob_id]
    assert await read(Update.objects.filter(blob__isnull=False).count) == 5


async def test_models_on_their_way_along_a_chain_are_looked_after(bob, carol, make_training):
    training = await call(lambda: start(make_training(bob, carol, rounds=2, daisy_chain={"period": 2})))
    for client, add in ((bob, 1.0), (carol, 2.0)):
        await upload_and_report(client, await call(lease, client), update(add))
    await call(settle, training)

    travelling = [update(add).digest for add in (1.0, 2.0)]
    assert set(await read(dependants.indispensable)) == {*travelling, (await version(training, 0)).blob_id}


async def test_files_are_looked_for_a_few_at_a_time(bob, carol, make_training, monkeypatch):
    monkeypatch.setattr(dependants, "BATCH", 1)
    await closed_round(make_training, bob, carol)
    for add in (1.0, 2.0):
        take_away(update(add).digest)

    await mending._sweep()

    assert await read(Task.objects.filter(state="offered").count) == 2


async def test_what_cannot_be_looked_after_keeps_nothing_else_from_being(bob, carol, make_training, monkeypatch):
    """The first to be met fails, as where the machine has no memory for it."""
    await closed_round(make_training, bob, carol)
    for add in (1.0, 2.0):
        take_away(update(add).digest)
    met, attend = [], mending.attend

    async def failing_at_first(digest):
        met.append(digest)
        if len(met) == 1:
            raise MemoryError
        return await attend(digest)

    monkeypatch.setattr(mending, "attend", failing_at_first)

    await mending._sweep()
    assert len(met) == 2
    assert await read(Task.objects.filter(state="offered").count) == 1

    await mending._sweep()
    assert await read(Task.objects.filter(state="offered").count) == 2


async def test_what_the_doctor_has_left_a_note_of_is_looked_at_and_set_aside(bob, carol, make_training, home):
    """By its SHA-256: damage that the checksums let pass is among it."""
    training = await closed_round(make_training, bob, carol)
    digest = update(1.0).digest
    flip_a_bit(digest)
    hidden = Blob.objects.filter(sha256=digest)
    await call(lambda: hidden.update(checksums=store.digested(store.path_of(digest)).checksums))
    doubts.leave(digest)

    await mending._sweep()

    assert (len(aside(home)), doubts.left()) == (1, [])
    assert await states(training) == [(1, 1, "collecting")]


async def test_a_file_that_was_healed_since_the_doctor_looked_stays(bob, carol, make_training, home):
    """The race of the doctor with whoever writes the file anew: the server looks again under its lock."""
    await closed_round(make_training, bob, carol)
    digest = update(1.0).digest
    whole = store.path_of(digest).read_bytes()
    flip_a_bit(digest)
    for finding in await read(lambda: list(doctor.blobs(quick=False, set_aside=True, progress=max))):
        assert finding.level == "error"
    async with store.lock(digest):
        sweep = asyncio.create_task(mending._sweep())
        await read(Blob.objects.count)
        with store.BlobFile() as healed:
            healed.write(whole)
            healed.finish()
        store.place(healed.path, digest)

    await sweep

    assert (store.path_of(digest).read_bytes(), aside(home), doubts.left()) == (whole, [], [])


async def test_one_note_that_cannot_be_followed_is_kept_and_holds_up_no_other(bob, carol, make_training, home):
    training = await closed_round(make_training, bob, carol)
    stuck, lost = store.path_of((await version(training, 0)).blob_id), update(1.0).digest
    stuck.unlink()
    stuck.mkdir()
    await call(lambda: Blob.objects.filter(sha256=stuck.name).update(size=stuck.stat().st_size))
    flip_a_bit(lost)
    for digest in (stuck.name, lost):
        doubts.leave(digest)

    await mending._sweep()

    assert (doubts.left(), [path.name[:64] for path in aside(home)]) == ([stuck.name], [lost])


async def test_a_cancelled_training_does_not_move(bob, carol, make_training, clock):
    training = await closed_round(make_training, bob, carol)
    await call(trainings.cancel, training_id=training.id, now=clock.now)
    take_away(update(1.0).digest)

    await mending.attend(update(1.0).digest)

    assert await states(training) == [(1, 1, "abandoned")]
