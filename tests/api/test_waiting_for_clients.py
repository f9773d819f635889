"""A plan may want so many clients to be there: the training pauses with the reason, and goes on by itself."""

import asyncio

import pytest

from hansa.core.sampling import replay
from hansa.protocol.models import Detail
from hansa.rounds.decide import LEASE_SECONDS
from hansa.rounds.states import TrainingStatus
from hansa.server.accounts import presence
from hansa.server.lifecycle.bridge import call, read
from hansa.server.trainings import attendance
from hansa.server.trainings.models import Training
from hansa.server.trainings.services import trainings
from support.answers import nothing_changes, refused, shown
from support.federation import Worker, at_work, ended, moved_by, orchestrating, rounds_of, take, until
from support.work import BUFFERS, add_up, lease, settle, start, update, upload_and_report

MOMENT = attendance.MOMENT.total_seconds()
TOLD_AGAIN = attendance.TOLD_AGAIN
WANTS_TWO = {"participation": {"min_to_start": 2, "min_to_go_on": 2}}
ONE_OF_TWO = (
    "1 of the 2 clients that round 1 waits for are there; 2 take part. Start more of them: it goes on by itself when "
    "2 are there."
)


async def row_of(training):
    return await read(Training.objects.get, id=training.id)


async def status(training):
    row = await row_of(training)
    return row.status, row.awaits_clients


async def ask(*clients):
    for client in clients:
        await client.post("/api/tasks/next/", json={"instance": "x"})


async def there(training, clock):
    return (await read(attendance.there, [training.id], clock()))[training.id].there


@pytest.fixture
def dave(person):
    return person("dave", client=True)


@pytest.fixture
async def waiting(make_training, bob, carol):
    """Of Bob and Carol, both of whom are wanted, only Bob is there."""
    await ask(bob)
    return await call(lambda: start(make_training(bob, carol, rounds=2, **WANTS_TWO)))


# Paused by its plan, and gone on with by itself


async def test_a_training_that_starts_with_too_few_clients_there_is_paused_and_says_why(alice, waiting):
    assert await status(waiting) == (TrainingStatus.PAUSED, True)
    record = (await alice.get(f"/api/trainings/{waiting.id}/")).json()
    assert (record["status"], record["state"], record["reason"]) == ("paused", "O", ONE_OF_TWO)
    assert record["round"] == 0


async def test_it_goes_on_by_itself_when_enough_are_there(alice, carol, waiting):
    await ask(carol)
    await call(settle, waiting)

    assert await status(waiting) == (TrainingStatus.ONGOING, False)
    (first,) = await rounds_of(alice, waiting)
    assert first["reason"] == "round 1 of 2 begins; 2 clients are there"


async def test_the_reason_counts_who_is_there_now(alice, bob, waiting, clock):
    clock.advance(MOMENT)
    record = (await alice.get(f"/api/trainings/{waiting.id}/")).json()
    assert record["reason"].startswith("0 of the 2 clients")


async def test_it_pauses_between_rounds_when_one_of_the_clients_is_gone(bob, carol, waiting, clock):
    await ask(carol)
    await call(settle, waiting)
    await upload_and_report(carol, await call(lease, carol), update())
    task = await call(lease, bob)
    for _ in range(4):
        clock.advance(LEASE_SECONDS / 2)
        await bob.post(f"/api/tasks/{task.id}/heartbeat/", json={})
    await upload_and_report(bob, task, update())
    await call(settle, waiting)
    await call(add_up, waiting)

    assert await status(waiting) == (TrainingStatus.PAUSED, True)
    assert (await row_of(waiting)).reason.startswith("1 of the 2 clients that round 2 waits for are there")


async def test_a_training_may_start_before_enough_have_joined_and_begins_when_they_have(
    alice, bob, carol, make_training
):
    training = await call(lambda: make_training(bob, **WANTS_TWO, cohort={"size": 2}))
    await ask(bob, carol)
    shown(await alice.post(f"/api/trainings/{training.id}/start/"), Detail, 202)
    await call(settle, training)
    assert (await row_of(training)).reason == (
        "1 of the 2 clients that round 1 waits for are there; 1 take part. Add clients: it goes on by itself when 2 "
        "are there."
    )

    await alice.put(f"/api/trainings/{training.id}/clients/", json={"clients": ["carol"]})
    await call(settle, training)
    assert await status(training) == (TrainingStatus.ONGOING, False)


async def test_nobody_at_all_is_still_refused_at_the_start(alice, make_training):
    training = await call(lambda: make_training(**WANTS_TWO))
    async with nothing_changes():
        refused(await alice.post(f"/api/trainings/{training.id}/start/"), 422, "no_clients")


async def test_a_plan_for_one_client_starts_whoever_is_there(make_training, bob, carol):
    training = await call(lambda: start(make_training(bob, carol)))
    assert await status(training) == (TrainingStatus.ONGOING, False)


# Who is there


async def test_a_client_is_there_for_a_moment_after_it_has_asked(waiting, carol, clock):
    assert await there(waiting, clock) == 1
    await ask(carol)
    assert await there(waiting, clock) == 2
    clock.advance(MOMENT)
    assert await there(waiting, clock) == 0


async def test_a_client_that_waits_for_work_is_there_as_long_as_it_waits(waiting, carol, clock):
    asking = asyncio.create_task(carol.post("/api/tasks/next/?wait=20", json={"instance": "x"}))
    while not attendance.HINTS.has_waiter(carol.user.id):  # noqa: ASYNC110  # what is awaited is that it waits
        await asyncio.sleep(0)
    clock.advance(10 * MOMENT)
    assert await there(waiting, clock) == 1
    attendance.HINTS.close()
    await asking


async def test_a_client_at_work_for_another_training_is_there_and_so_is_one_that_has_just_reported(
    waiting, dave, make_training, carol, clock
):
    other = await call(lambda: start(make_training(carol, dave)))
    await call(trainings.add_clients, training_id=waiting.id, clients=[dave.user])
    clock.advance(MOMENT)
    assert await there(waiting, clock) == 0

    await call(lease, carol)
    assert await there(waiting, clock) == 1
    await upload_and_report(dave, await call(lease, dave), update())
    assert await there(waiting, clock) == 2
    clock.advance(MOMENT)
    await call(settle, other)
    assert await there(waiting, clock) == 0


async def test_a_client_that_was_lost_is_not_there_until_it_asks_again(waiting, bob, carol, clock):
    await ask(carol)
    await call(settle, waiting)
    await upload_and_report(carol, await call(lease, carol), update())
    await call(lease, bob)
    for _ in range(3):  # Carol's report is a moment old by then, and Bob's question as well
        assert await there(waiting, clock) == 2
        clock.advance(LEASE_SECONDS / 3 + 1)
    await call(settle, waiting)

    await ask(carol)
    assert await there(waiting, clock) == 1
    await ask(bob)
    assert await there(waiting, clock) == 2


async def test_a_client_that_gives_its_task_back_is_not_there_until_it_asks_again(waiting, bob, carol, clock):
    await ask(carol)
    await call(settle, waiting)
    task = await call(lease, bob)
    assert (await bob.post(f"/api/tasks/{task.id}/release/", json={"reason": "it is stopped"})).status_code == 204
    assert await there(waiting, clock) == 1
    await ask(bob)
    assert await there(waiting, clock) == 2


@pytest.fixture
async def told(waiting, dave):
    """Dave takes part in it too, and is told of his tasks."""
    dave.user.message_endpoint = "https://dave.example/"
    await call(dave.user.save)
    await call(trainings.add_clients, training_id=waiting.id, clients=[dave.user])
    return waiting.participations.filter(client=dave.user)


async def test_a_client_with_an_endpoint_is_there_unless_it_was_lost_a_moment_ago(bob, waiting, told, clock):
    assert await there(waiting, clock) == 2
    await read(lambda: told.update(absent=True, absent_since=clock()))
    assert await there(waiting, clock) == 1
    clock.advance(TOLD_AGAIN.total_seconds())
    await ask(bob)
    assert await there(waiting, clock) == 2


async def test_a_client_that_is_told_and_never_asks_is_counted_on_again_without_anybodys_doing(
    alice, bob, waiting, told, clock
):
    """Else the training waited for ever: whoever is only told has no way to say that it is back."""
    await read(lambda: told.update(absent=True, absent_since=clock()))

    waits = await call(settle, waiting)
    assert (waits.reason, waits.until) == (ONE_OF_TWO.replace("2 take part", "3 take part"), clock() + TOLD_AGAIN)
    clock.advance(TOLD_AGAIN.total_seconds())
    await ask(bob)
    await call(settle, waiting)

    (first,) = await rounds_of(alice, waiting)
    assert first["reason"] == "round 1 of 2 begins; 2 clients are there"


async def test_who_is_excluded_has_left_or_has_no_open_account_is_not_there(waiting, bob, clock):
    for change, back in (
        (lambda: waiting.participations.filter(client=bob.user).update(excluded="x"), {"excluded": ""}),
        (lambda: waiting.participations.filter(client=bob.user).update(active=False), {"active": True}),
    ):
        assert await there(waiting, clock) == 1
        await call(change)
        assert await there(waiting, clock) == 0
        await call(lambda back=back: waiting.participations.filter(client=bob.user).update(**back))
    bob.user.is_active = False
    await call(bob.user.save)
    assert await there(waiting, clock) == 0


# A cohort of those who are there


@pytest.fixture
def dozen(person):
    return [person(f"client{number}", client=True) for number in range(12)]


def drawn_from(training):
    row = training.rounds.order_by("-number", "-attempt").first()
    assert row.selection["selected"] == replay(row.selection)
    return row.selection["candidates"], row.tasks.count()


async def test_the_cohort_is_drawn_from_the_clients_that_were_waited_for(make_training, dozen):
    wanted = {"min_to_start": 3, "min_to_go_on": 3}
    training = await call(lambda: make_training(*dozen, rounds=4, cohort={"size": 3}, participation=wanted))
    alive = dozen[4:7]
    await ask(*alive)
    await call(lambda: start(training))
    for _ in range(4):
        assert await read(drawn_from, training) == ([4, 5, 6], 3)
        for client in alive:
            await upload_and_report(client, await call(lease, client), update())
        await call(settle, training)
        await call(add_up, training)

    assert await status(training) == (TrainingStatus.COMPLETED, False)
    assert await read(lambda: [row.attempt for row in training.rounds.all()]) == [1, 1, 1, 1]


async def test_a_part_of_the_clients_is_a_part_of_all_that_take_part(make_training, dozen):
    plan = {"cohort": {"fraction": 0.25, "over_selection": 0.3}, "participation": {"min_to_start": 3}}
    training = await call(lambda: make_training(*dozen, **plan))
    await ask(*dozen[:5])
    await call(lambda: start(training))
    assert await read(drawn_from, training) == ([0, 1, 2, 3, 4], 4)
    assert (await read(training.rounds.get)).wanted == 3


async def test_where_those_who_are_there_could_not_close_the_round_it_is_drawn_from_all(make_training, dozen):
    plan = {"cohort": {"size": 4}, "closing": {"min_reports": 4}, "participation": {"min_to_start": 3}}
    training = await call(lambda: make_training(*dozen, **plan))
    await ask(*dozen[:3])
    await call(lambda: start(training))
    assert await read(drawn_from, training) == ([*range(12)], 4)


async def test_where_all_are_asked_nobody_is_left_out_for_not_being_there(make_training, dozen):
    training = await call(lambda: make_training(*dozen, participation={"min_to_start": 3}))
    await ask(*dozen[:3])
    await call(lambda: start(training))
    assert await read(drawn_from, training) == ([*range(12)], 12)


# A person, and a training that waits for clients


async def test_a_persons_pause_is_not_ended_by_the_server(alice, carol, waiting):
    shown(await alice.post(f"/api/trainings/{waiting.id}/pause/"), Detail, 202)
    await ask(carol)
    await call(settle, waiting)

    assert await status(waiting) == (TrainingStatus.PAUSED, False)
    assert (await row_of(waiting)).reason == "paused by its actor"
    shown(await alice.post(f"/api/trainings/{waiting.id}/resume/"), Detail, 202)
    await call(settle, waiting)
    assert await status(waiting) == (TrainingStatus.ONGOING, False)


async def test_resuming_does_not_help_while_too_few_are_there_and_is_told_so(alice, carol, waiting):
    async with nothing_changes():
        refused(await alice.post(f"/api/trainings/{waiting.id}/resume/"), 409, "wrong_state", ONE_OF_TWO)

    await ask(carol)
    shown(await alice.post(f"/api/trainings/{waiting.id}/resume/"), Detail, 202)
    assert await status(waiting) == (TrainingStatus.ONGOING, False)


async def test_it_can_be_cancelled(alice, carol, waiting):
    shown(await alice.post(f"/api/trainings/{waiting.id}/cancel/"), Detail, 202)
    await ask(carol)
    await call(settle, waiting)
    assert await status(waiting) == (TrainingStatus.CANCELLED, False)


async def test_it_can_be_deleted(alice, waiting):
    assert (await alice.delete(f"/api/trainings/{waiting.id}/")).status_code == 200
    assert not await read(Training.objects.filter(id=waiting.id).exists)


# With an orchestrator and clients that work by themselves


@pytest.mark.usefixtures("soon")
async def test_it_goes_on_by_itself_pauses_again_and_completes_after_a_restart(
    alice, bob, carol, make_training, monkeypatch, clock
):
    training = await call(lambda: make_training(bob, carol, rounds=3, **WANTS_TWO))
    bobs, carols = (Worker(each, moved_by(1.0), buffers=BUFFERS) for each in (bob, carol))
    async with orchestrating():
        coming = asyncio.create_task(take(bob))
        await alice.post(f"/api/trainings/{training.id}/start/")
        record = await until(alice, training, lambda record: record["status"] == "paused")
        assert record["reason"] == ONE_OF_TWO

        await carols.do(await take(carol))
        first = await coming
        for _ in range(2):
            clock.advance(MOMENT / 2)
            await bob.post(f"/api/tasks/{first['id']}/heartbeat/", json={})
        await bobs.do(first)
        record = await until(alice, training, lambda record: record["status"] == "paused")
        assert record["reason"].startswith("1 of the 2 clients that round 2 waits for are there")
    monkeypatch.setattr(presence, "_seen", {})  # a restart, after which nobody has asked for anything yet
    clock.advance(MOMENT)
    async with orchestrating(), at_work(bobs):
        await until(alice, training, lambda record: record["reason"].startswith("1 of the 2"))
        async with at_work(carols):
            record = await ended(alice, training)
    assert (record["status"], record["rounds_done"]) == ("completed", 3)
