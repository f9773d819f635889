"""Push clients in a training: what they are told, in which order, and what comes of it, told or not."""

import asyncio
from datetime import timedelta

import pytest
from django.db.models import F

from hansa.rounds.decisions import AbandonRound, Wait
from hansa.rounds.states import RoundState, TaskState
from hansa.server.lifecycle.bridge import call, read
from hansa.server.notifications.models import Notification, State
from hansa.server.notifications.outcomes import DELAYS
from hansa.server.registry.models import Model
from hansa.server.trainings import facts
from hansa.server.trainings.models import Participation, Round, Task, Update
from hansa.server.trainings.services import push, rounds, tasks, trainings
from support.federation import began, ended, rounds_of, take, until
from support.receiver import Receiver, answers, closes, hangs, holds_back
from support.work import lease, start, update, upload_and_report

pytestmark = pytest.mark.usefixtures("outbox_served")


@pytest.fixture
async def dave(person, receiver):
    """A push client whose receiver answers 202."""
    return await call(person, "dave", client=True, message_endpoint=receiver.url)


@pytest.fixture
async def other():
    """Another receiver."""
    async with Receiver().listening() as one:
        yield one


@pytest.fixture
async def erin(person, other):
    """A push client with a receiver of her own."""
    return await call(person, "erin", client=True, message_endpoint=other.url)


@pytest.fixture
def train(make_training):
    """Make a training."""

    async def make(*clients, **plan):
        return await call(lambda: make_training(*clients, **plan))

    return make


async def patiently(condition, what):
    """Look until it is so."""
    try:
        async with asyncio.timeout(20):
            while not (found := await read(condition)):
                pass
    except TimeoutError:
        raise AssertionError(what) from None
    return found


async def task_of(client, training, state, kind="train", number=1):
    """The client's task, once it is in a state."""

    def look():
        rows = Task.objects.filter(round__training=training, round__number=number, kind=kind, state=state)
        return rows.filter(participation__client=client.user).order_by("-round__attempt").first()

    return await patiently(look, f"no {kind} task of {client.user.username} in round {number} is {state}")


async def settled(kind, state, **of):
    """A message of a kind, once it is in a state."""
    return await patiently(Notification.objects.filter(kind=kind, state=state, **of).first, f"no {kind} is {state}")


async def wear_out(kind, clock, receiver_of):
    """Let all attempts at a message pass."""
    rows = Notification.objects.filter(kind=kind, receiver=receiver_of.user)
    for attempt, pause in enumerate(DELAYS, start=1):
        await patiently(rows.filter(attempts__gte=attempt).exists, f"attempt {attempt} at {kind}")
        clock.advance(pause)
    return await settled(kind, State.UNREACHABLE, receiver=receiver_of.user)


async def round_record(person, training, number=1):
    """A round as the API shows it."""
    return (await person.get(f"/api/trainings/{training.id}/rounds/{number}/")).json()


async def evaluate(client, task):
    answer = await client.post(f"/api/tasks/{task.id}/report/", json={"num_examples": 5, "metrics": {"loss": 1.0}})
    assert answer.status_code == 200, answer.text


async def test_a_training_is_told_from_its_start_to_its_end_in_the_contracts_words(
    orchestrator, alice, dave, receiver, train
):
    training = await train(dave, rounds=2, evaluation={"every": 1})
    await began(alice, training)
    for number in (1, 2):
        task = await task_of(dave, training, TaskState.LEASED, number=number)
        await upload_and_report(dave, task, update(1.0))
        await evaluate(dave, await task_of(dave, training, TaskState.LEASED, "evaluate", number))
    assert (await ended(alice, training))["status"] == "completed"
    await receiver.has(6)

    model, of = {"global_model_uuid": str(training.model_id)}, str(training.id)
    assert [told.message for told in receiver.told] == [
        {"notification_type": "TRAINING_START", "training_uuid": of, "body": model},
        {"notification_type": "UPDATE_ROUND_START", "training_uuid": of, "body": {"round": 0, **model}},
        {"notification_type": "MODEL_TEST_ROUND", "training_uuid": of, "body": {"round": 1, **model}},
        {"notification_type": "UPDATE_ROUND_START", "training_uuid": of, "body": {"round": 1, **model}},
        {"notification_type": "MODEL_TEST_ROUND", "training_uuid": of, "body": {"round": 2, **model}},
        {"notification_type": "TRAINING_FINISHED", "training_uuid": of, "body": model},
    ]
    assert len({told.id for told in receiver.told}) == 6


async def test_rounds_are_counted_from_where_the_model_stood(orchestrator, alice, dave, receiver, train):
    training = await train(dave, rounds=1, evaluation={"every": 1})
    await read(Model.objects.filter(id=training.model_id).update, first_round=7)
    await began(alice, training)
    await upload_and_report(dave, await task_of(dave, training, TaskState.LEASED), update(1.0))
    await receiver.has(3)

    assert [told.message["body"].get("round") for told in receiver.told] == [None, 7, 8]


async def test_push_and_pull_clients_train_together(orchestrator, alice, bob, dave, receiver, train):
    training = await train(bob, dave)
    await began(alice, training)
    pulled = await take(bob)
    pushed = await task_of(dave, training, TaskState.LEASED)
    await upload_and_report(bob, pulled["id"], update(1.0))
    await upload_and_report(dave, pushed, update(3.0))

    assert (await ended(alice, training))["status"] == "completed"
    await receiver.has(3)
    (only,) = await rounds_of(alice, training)
    assert only["reported"] == 2
    assert receiver.kinds == ["TRAINING_START", "UPDATE_ROUND_START", "TRAINING_FINISHED"]


@pytest.mark.parametrize(("closing", "seconds"), [({}, 3600), ({"deadline_seconds": 900}, 900)])
async def test_who_was_told_is_at_work_until_the_deadline_or_for_an_hour(
    orchestrator, alice, dave, train, clock, closing, seconds
):
    training = await train(dave, closing=closing)
    await began(alice, training)

    task = await task_of(dave, training, TaskState.LEASED)

    assert (task.instance, task.leased_at) == ("push", clock.now)
    assert task.lease_until == clock.now + timedelta(seconds=seconds)
    await dave.user.arefresh_from_db()
    assert dave.user.last_seen == clock.now


async def test_a_restart_of_the_server_does_not_shorten_it(orchestrator, alice, dave, train, clock):
    training = await train(dave)
    await began(alice, training)
    before = await task_of(dave, training, TaskState.LEASED)
    clock.advance(600)

    await call(tasks.forgive_downtime, now=clock.now)

    after = await read(Task.objects.get, id=before.id)
    assert after.lease_until == before.lease_until


async def test_who_does_not_send_anything_in_that_time_is_lost(orchestrator, alice, bob, dave, train, clock):
    training = await train(bob, dave, closing={"deadline_seconds": 300, "min_reports": 1})
    await began(alice, training)
    await task_of(dave, training, TaskState.LEASED)
    await upload_and_report(bob, (await take(bob))["id"], update(1.0))
    clock.advance(301)

    assert (await ended(alice, training))["status"] == "completed"


async def test_a_client_that_rejects_is_removed_and_the_others_go_on(
    orchestrator, alice, bob, dave, receiver, train, caplog
):
    receiver.then = [answers(200), answers(500)]
    training = await train(bob, dave)
    await began(alice, training)
    closed = await task_of(dave, training, TaskState.CLOSED)
    await upload_and_report(bob, (await take(bob))["id"], update(1.0))

    assert (await ended(alice, training))["status"] == "completed"
    reason = "the client was removed from the training: its endpoint answered 500 Internal Server Error"
    assert closed.reason == reason
    assert not (await read(Participation.objects.get, client=dave.user)).active
    shown = {task["username"]: task for task in (await round_record(alice, training))["tasks"]}
    assert (shown["dave"]["state"], shown["dave"]["reason"]) == ("closed", reason)
    assert receiver.kinds == ["TRAINING_START", "UPDATE_ROUND_START"], "who was removed hears no more of it"
    assert f"client {dave.id} is removed" in caplog.text
    assert not any(name in caplog.text for name in ("dave", "500 Internal"))


async def test_what_a_rejection_said_is_not_for_the_other_participants(orchestrator, alice, bob, dave, receiver, train):
    receiver.then = [answers(200), answers(418)]
    training = await train(bob, dave)
    await began(alice, training)
    await task_of(dave, training, TaskState.CLOSED)

    shown = {task["username"]: task for task in (await round_record(bob, training))["tasks"]}

    assert (shown["dave"]["state"], shown["dave"]["reason"]) == ("closed", "")


async def test_when_the_last_client_rejects_the_training_stops_with_the_reason(
    orchestrator, alice, dave, receiver, train
):
    receiver.then = [answers(200), answers(503)]
    training = await train(dave)
    await began(alice, training)

    record = await ended(alice, training)

    assert (record["status"], record["state"]) == ("error", "E")
    assert "no client is left" in record["reason"]


async def test_a_client_that_rejects_its_test_is_removed_and_the_round_is_done(
    orchestrator, alice, bob, dave, receiver, train
):
    receiver.then = [answers(200), answers(202), answers(404)]
    training = await train(bob, dave, evaluation={"every": 1})
    await began(alice, training)
    await upload_and_report(bob, (await take(bob))["id"], update(1.0))
    await upload_and_report(dave, await task_of(dave, training, TaskState.LEASED), update(1.0))
    await task_of(dave, training, TaskState.CLOSED, "evaluate")
    await evaluate(bob, await read(Task.objects.get, id=(await take(bob))["id"]))

    assert (await ended(alice, training))["status"] == "completed"
    (only,) = await rounds_of(alice, training)
    assert only["reported"] == 2, "what it reported stays"


async def test_a_client_that_rejects_its_swag_round_stays_and_the_training_goes_on(
    orchestrator, alice, dave, receiver, train
):
    """Clients of the older platform answer 500 to what they do not know (contract 9.1)."""
    receiver.then = [answers(200), answers(202), answers(500), answers(202)]
    training = await train(dave, rounds=2, uncertainty={"method": "swag"})
    await began(alice, training)
    await upload_and_report(dave, await task_of(dave, training, TaskState.LEASED), update(1.0))
    refused = await task_of(dave, training, TaskState.FAILED, "swag")

    await task_of(dave, training, TaskState.LEASED, number=2)

    assert "500 Internal Server Error" in refused.reason
    assert (await read(Participation.objects.get, client=dave.user)).active
    assert "none of the clients asked could send any" in (await round_record(alice, training))["reason"]
    assert receiver.kinds == ["TRAINING_START", "UPDATE_ROUND_START", "SWAG_ROUND_START", "UPDATE_ROUND_START"]


async def test_a_client_that_cannot_be_reached_is_lost_with_the_reason_and_the_round_closes_without_it(
    orchestrator, alice, bob, dave, receiver, train, clock, caplog
):
    receiver.then = [answers(200), closes]
    training = await train(bob, dave, closing={"min_reports": 1})
    await began(alice, training)
    await upload_and_report(bob, (await take(bob))["id"], update(1.0))
    await wear_out("UPDATE_ROUND_START", clock, dave)

    record = await ended(alice, training)
    assert record["status"] == "completed"
    shown = {task["username"]: task for task in (await round_record(alice, training))["tasks"]}
    reason = "the client could not be told: its endpoint gave no answer: it closed the connection (7 attempts)"
    assert shown["dave"]["reason"] == reason, "it stands after the round has closed"
    row = await read(Participation.objects.get, client=dave.user)
    assert (row.active, row.absent) == (True, True)
    assert f"client {dave.id} cannot be told" in caplog.text
    assert "dave" not in caplog.text


async def test_while_it_is_being_told_the_record_says_what_is_in_the_way(
    orchestrator, alice, dave, receiver, train, clock
):
    receiver.then = [answers(200), closes, answers(202)]
    training = await train(dave)
    await began(alice, training)
    await patiently(Notification.objects.filter(kind="UPDATE_ROUND_START", attempts=1).exists, "no first attempt")

    (task,) = (await round_record(alice, training))["tasks"]
    assert (task["state"], task["reason"]) == (
        "offered",
        "not told yet: its endpoint gave no answer: it closed the connection",
    )

    clock.advance(0.5)
    assert (await task_of(dave, training, TaskState.LEASED)).reason == ""


async def test_a_client_whose_endpoint_is_not_allowed_may_still_come_for_its_task(
    orchestrator, alice, dave, receiver, train, allow
):
    """An operator who lists nobody, and has users of an older platform with their endpoints, loses none of them."""
    allow("")
    training = await train(dave)
    await began(alice, training)
    await settled("UPDATE_ROUND_START", State.DROPPED)
    (task,) = (await round_record(alice, training))["tasks"]
    assert task["state"] == "offered"
    assert task["reason"].startswith("not told, waiting for the client to ask: its endpoint cannot be used: ")
    assert "HANSA_PUSH_ALLOW" in task["reason"]
    record = await until(alice, training, lambda record: "1 of them cannot be told" in record["reason"])
    assert "List the hosts in HANSA_PUSH_ALLOW" in record["reason"]
    assert receiver.url not in record["reason"], "the other participants read it too"

    await upload_and_report(dave, (await take(dave))["id"], update(1.0))

    assert (await ended(alice, training))["status"] == "completed"
    assert receiver.told == []


async def test_one_whose_endpoint_is_not_allowed_is_lost_when_its_minute_is_over_and_others_came(
    orchestrator, alice, bob, dave, train, allow, clock
):
    allow("")
    training = await train(bob, dave, closing={"min_reports": 1})
    await began(alice, training)
    await settled("UPDATE_ROUND_START", State.DROPPED)
    await upload_and_report(bob, (await take(bob))["id"], update(1.0))
    clock.advance(61)

    assert (await ended(alice, training))["status"] == "completed"


async def test_when_nobody_can_be_reached_the_training_stops_after_three_attempts(
    orchestrator, alice, dave, receiver, train, clock
):
    receiver.then = [closes]
    training = await train(dave)
    await call(trainings.start, training_id=training.id, now=clock.now)

    async def time_passes():
        while True:
            await read(Task.objects.count)
            clock.advance(0.25)

    passing = asyncio.create_task(time_passes())
    record = await ended(alice, training)
    passing.cancel()

    assert record["status"] == "error"
    assert "tried 3 times" in record["reason"]
    assert "dave was lost" in record["reason"]


async def test_a_client_that_was_lost_is_told_of_the_next_round_and_waited_for_once_it_answers(
    orchestrator, alice, bob, dave, receiver, train, clock
):
    receiver.then = [answers(200), *[closes] * 7, answers(202)]
    training = await train(bob, dave, rounds=2, closing={"min_reports": 1})
    await began(alice, training)
    await upload_and_report(bob, (await take(bob))["id"], update(1.0))
    await wear_out("UPDATE_ROUND_START", clock, dave)

    again = await task_of(dave, training, TaskState.LEASED, number=2)

    assert not (await read(Participation.objects.get, client=dave.user)).absent
    await upload_and_report(bob, (await take(bob))["id"], update(1.0))
    assert (await round_record(alice, training, 2))["state"] == "collecting", "it is waited for"
    await upload_and_report(dave, again, update(3.0))
    assert (await ended(alice, training))["status"] == "completed"


@pytest.mark.parametrize("behaviour", [answers(500), closes])
async def test_what_comes_of_the_start_changes_nothing(orchestrator, alice, dave, receiver, train, clock, behaviour):
    receiver.then = [*[behaviour] * (1 if behaviour is not closes else 7), answers(202)]
    training = await train(dave)
    await began(alice, training)
    if behaviour is closes:
        await wear_out("TRAINING_START", clock, dave)

    await upload_and_report(dave, await task_of(dave, training, TaskState.LEASED), update(1.0))

    assert (await ended(alice, training))["status"] == "completed"


async def test_the_start_always_comes_before_the_first_round(orchestrator, alice, dave, receiver, train, clock):
    receiver.then = [closes, closes, answers(200)]
    training = await train(dave)
    await began(alice, training)
    for attempt in (1, 2):
        await patiently(Notification.objects.filter(kind="TRAINING_START", attempts=attempt).exists, "attempts")
        clock.advance(2)

    await task_of(dave, training, TaskState.LEASED)

    assert receiver.kinds == [*["TRAINING_START"] * 3, "UPDATE_ROUND_START"]


async def test_who_is_being_told_is_not_late(orchestrator, alice, bob, dave, receiver, train, clock):
    """Without this its offer would be dropped a minute after the first client came."""
    receiver.then = [answers(200), hangs]
    training = await train(bob, dave, closing={"min_reports": 1})
    await began(alice, training)
    await receiver.has(2)
    await upload_and_report(bob, (await take(bob))["id"], update(1.0))
    clock.advance(61)
    await until(alice, training, lambda record: "1 of 2 clients have reported" in record["reason"])
    for _ in range(20):
        await read(Task.objects.count)

    (task,) = await read(lambda: list(Task.objects.filter(participation__client=dave.user)))
    assert task.state == TaskState.OFFERED


async def test_a_cohort_that_is_still_being_told_is_not_given_up_for_others_who_wait(
    nowhere, bob, dave, train, clock, monkeypatch
):
    training = await train(bob, dave)
    await call(start, training)
    await call(lambda: Task.objects.filter(participation__client=bob.user).delete())
    monkeypatch.setattr(facts, "_others_waiting", lambda rounds, now: {training.id: 1})  # Bob, who was not selected
    clock.advance(61)

    told = await read(rounds.look, training_id=training.id, now=clock.now)
    await call(lambda: Notification.objects.update(state=State.DROPPED))
    untold = await read(rounds.look, training_id=training.id, now=clock.now)

    assert isinstance(told, Wait)
    assert isinstance(untold, AbandonRound)


async def test_a_client_that_pulled_before_it_was_told_keeps_what_it_has(
    orchestrator, alice, dave, receiver, train, clock
):
    training = await train(dave)
    receiver.gate.clear()
    await began(alice, training)
    task = await take(dave)
    receiver.gate.set()
    await settled("UPDATE_ROUND_START", State.DELIVERED)

    row = await read(Task.objects.get, id=task["id"])

    assert row.instance != "push"
    assert row.lease_until == clock.now + timedelta(seconds=60)


@pytest.mark.parametrize("answer", [answers(202), answers(500)])
async def test_an_answer_that_comes_after_the_upload_reopens_nothing(
    orchestrator, alice, bob, dave, receiver, train, answer
):
    training = await train(bob, dave)
    uploaded = asyncio.Event()
    receiver.then = [answers(200), holds_back(uploaded, answer)]
    await call(trainings.start, training_id=training.id, now=training.created_at)
    await receiver.has(2)
    task = await take(dave)
    await upload_and_report(dave, task["id"], update(1.0))
    uploaded.set()
    await patiently(Notification.objects.exclude(state=State.PENDING).filter(subject=task["id"]).exists, "unsettled")

    assert (await read(Task.objects.get, id=task["id"])).state == TaskState.REPORTED
    assert (await read(Participation.objects.get, client=dave.user)).active
    await upload_and_report(bob, (await take(bob))["id"], update(1.0))
    assert (await ended(alice, training))["status"] == "completed"
    (only,) = await rounds_of(alice, training)
    assert only["reported"] == 2


async def test_the_end_is_told_to_the_actor_too_and_to_nobody_twice(
    orchestrator, alice, dave, receiver, erin, other, train
):
    alice.user.message_endpoint = other.url
    await call(alice.user.save)
    training = await train(dave, erin)
    await began(alice, training)
    for client in (dave, erin):
        await upload_and_report(client, await task_of(client, training, TaskState.LEASED), update(1.0))
    await ended(alice, training)
    await receiver.has(3)
    await other.has(4)

    assert receiver.kinds.count("TRAINING_FINISHED") == 1
    assert other.kinds.count("TRAINING_FINISHED") == 2, "erin, and alice"
    assert other.kinds.count("TRAINING_START") == 1, "erin only"


async def test_an_actor_who_takes_part_is_told_of_the_end_once(orchestrator, alice, receiver, train):
    alice.user.message_endpoint = receiver.url
    await call(alice.user.save)
    training = await train(alice)
    await began(alice, training)
    await upload_and_report(alice, await task_of(alice, training, TaskState.LEASED), update(1.0))
    await ended(alice, training)
    await receiver.has(3)

    assert receiver.kinds == ["TRAINING_START", "UPDATE_ROUND_START", "TRAINING_FINISHED"]


async def test_a_newer_round_takes_the_place_of_one_that_could_not_be_told(
    orchestrator, alice, bob, dave, receiver, train
):
    receiver.gate.clear()
    training = await train(bob, dave, rounds=3, closing={"quorum": 1})
    await began(alice, training)
    for _ in range(2):
        await upload_and_report(bob, (await take(bob))["id"], update(1.0))
    await until(alice, training, lambda record: record["round"] == 3)
    receiver.gate.set()
    await task_of(dave, training, TaskState.LEASED, number=3)

    assert [told.message["body"].get("round") for told in receiver.told] == [None, 2]


# What follows needs no orchestrator: one transition, and what it did to the outbox.


async def messages():
    """Everything in the outbox, oldest first."""
    return await read(lambda: list(Notification.objects.values_list("kind", "state")))


@pytest.fixture
def nowhere(receiver):
    """Nobody is told anything: the receiver takes messages and does not answer."""
    receiver.then = [hangs]


@pytest.fixture
async def running(nowhere, dave, bob, train):
    """A training of Bob, who pulls, and Dave, who cannot be told."""
    training = await train(bob, dave, rounds=2)
    await call(start, training)
    return training


async def test_pausing_withdraws_what_was_not_told_and_resuming_tells_it_again(running, clock):
    await call(trainings.pause, training_id=running.id)
    assert await messages() == [("TRAINING_START", "pending"), ("UPDATE_ROUND_START", "dropped")]

    await call(trainings.resume, training_id=running.id, now=clock.now)

    assert (await messages())[2:] == [("UPDATE_ROUND_START", "pending")]


async def test_resuming_does_not_tell_again_what_was_told(dave, train, clock):
    training = await train(dave)
    await call(start, training)
    await settled("UPDATE_ROUND_START", State.DELIVERED)
    await call(trainings.pause, training_id=training.id)

    await call(trainings.resume, training_id=training.id, now=clock.now)

    assert len(await messages()) == 2


async def test_cancelling_withdraws_what_was_not_told(running, clock):
    await call(trainings.cancel, training_id=running.id, now=clock.now)

    assert await messages() == [("TRAINING_START", "pending"), ("UPDATE_ROUND_START", "dropped")]


async def test_who_is_removed_is_told_nothing_more(running, dave):
    await call(trainings.remove_clients, training_id=running.id, clients=[dave.user])

    assert await messages() == [("TRAINING_START", "dropped"), ("UPDATE_ROUND_START", "dropped")]


async def test_what_is_being_sent_to_one_who_is_removed_changes_nothing(running, dave, receiver):
    await receiver.has(1)
    await call(trainings.remove_clients, training_id=running.id, clients=[dave.user])

    task = await read(Task.objects.get, participation__client=dave.user)
    assert (task.state, task.reason) == (TaskState.CLOSED, "the client was removed from the training")


async def test_with_a_training_its_outbox_goes(running, alice, clock):
    await call(trainings.cancel, training_id=running.id, now=clock.now)

    await alice.delete(f"/api/trainings/{running.id}/")

    assert await messages() == []


async def test_a_task_that_is_no_longer_on_offer_is_not_told_of(running, dave, clock):
    await call(lambda: Task.objects.filter(participation__client=dave.user).update(state=TaskState.FAILED.value))

    await call(push.keep_up, running, clock.now)

    assert await messages() == [("TRAINING_START", "pending"), ("UPDATE_ROUND_START", "dropped")]


async def test_keeping_up_twice_tells_once(running, clock):
    await call(push.keep_up, running, clock.now)
    await call(push.keep_up, running, clock.now)

    assert len(await messages()) == 2


async def test_pull_clients_are_told_nothing(bob, carol, train, clock):
    training = await train(bob, carol)
    await call(start, training)

    assert await messages() == []


async def test_a_client_that_goes_on_from_a_local_model_is_told_its_id(nowhere, dave, bob, alice, train, clock):
    """Daisy chaining: the contract names it where otherwise the global model stands."""
    training = await train(bob, dave, rounds=2)
    await call(start, training)
    bobs = await call(lease, bob)
    await upload_and_report(bob, bobs, update(1.0))
    local = await read(Update.objects.get)

    def hand_over():
        Notification.objects.all().delete()
        Task.objects.filter(participation__client=dave.user).update(source=local)
        push.keep_up(training, clock.now)

    await call(hand_over)

    (row,) = await read(lambda: list(Notification.objects.all()))
    assert row.body["body"] == {"round": 0, "global_model_uuid": str(bobs.id)}


async def test_a_swag_round_is_told_with_the_round_that_was_aggregated(nowhere, dave, train, clock):
    training = await train(dave)
    await call(start, training)

    def begin_swag():
        Notification.objects.all().delete()
        Round.objects.update(state=RoundState.SWAG.value, accepted=[])
        Task.objects.update(kind="swag", id=F("id"))
        push.keep_up(training, clock.now)

    await call(begin_swag)

    (row,) = await read(lambda: list(Notification.objects.all()))
    assert row.body == {
        "notification_type": "SWAG_ROUND_START",
        "training_uuid": str(training.id),
        "body": {"round": 1, "global_model_uuid": str(training.model_id)},
    }
