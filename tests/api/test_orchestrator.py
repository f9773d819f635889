"""Trainings move on by themselves: from the first offer to the last version, whatever happens to their clients."""

import asyncio

import numpy as np
import pytest
from safetensors.numpy import load

from hansa.server.blobs import store
from hansa.server.lifecycle.bridge import call, read
from hansa.server.trainings import orchestrator
from hansa.server.trainings.aggregation import aggregate
from hansa.server.trainings.hints import HINTS
from hansa.server.trainings.models import Round, Task, Training, Update
from hansa.server.trainings.services import aggregation, rounds, trainings
from support.federation import Worker, at_work, began, ended, moved_by, orchestrating, until
from support.work import (
    BUFFERS,
    INSTANCE,
    file_of,
    lease,
    report_of,
    settle,
    small_params,
    start,
    store_model,
    update,
    upload_and_report,
)

pytestmark = pytest.mark.usefixtures("soon")


@pytest.fixture
def dave(person):
    return person("dave", client=True)


@pytest.fixture
def workers(bob, carol, dave):
    """Three clients that move all floats by 1, 2 and 3, and have as many tens of examples."""
    people = (bob, carol, dave)
    return [
        Worker(each, moved_by(step), examples=10 * step, buffers=BUFFERS) for step, each in enumerate(people, start=1)
    ]


async def take(client):
    """The client's next task, by the API."""
    answer = await client.post("/api/tasks/next/?wait=20", json={"instance": INSTANCE})
    assert answer.status_code == 200, "no task came"
    return answer.json()


async def give_up(client, task, reason="CUDA out of memory"):
    answer = await client.post(f"/api/tasks/{task['id']}/release/", json={"reason": reason, "failed": True})
    assert answer.status_code == 204


async def params_of(person, record, number):
    return load((await person.get(f"/api/models/{record['model']}/versions/{number}/params/")).content)


async def rounds_of(person, training):
    return (await person.get(f"/api/trainings/{training.id}/rounds/")).json()


class TestWhileItRuns:
    pytestmark = pytest.mark.usefixtures("orchestrator")

    async def test_a_training_runs_from_its_start_to_its_end(self, alice, bob, carol, dave, make_training, workers):
        training = await call(lambda: make_training(bob, carol, dave, rounds=3, evaluation={"every": 1}))
        async with at_work(*workers):
            await began(alice, training)
            record = await ended(alice, training)

        assert (record["status"], record["state"], record["reason"]) == ("completed", "C", "all 3 rounds are done")
        assert (record["round"], record["rounds_done"], record["version"]) == (3, 3, 3)
        final = await params_of(alice, record, 3)
        moved = small_params(3 * (1 * 10 + 2 * 20 + 3 * 30) / 60)
        assert {name: array.tolist() for name, array in final.items()} == {
            name: pytest.approx(array, abs=1e-5) for name, array in moved.items()
        }

    async def test_every_round_asks_every_client_to_train_and_then_to_evaluate(
        self, alice, bob, carol, dave, make_training, workers
    ):
        training = await call(lambda: make_training(bob, carol, dave, rounds=2, evaluation={"every": 1}))
        async with at_work(*workers):
            await began(alice, training)
            await ended(alice, training)

        for worker in workers:
            assert [(task["round"], task["kind"], task["version"]) for task in worker.done] == [
                (1, "train", 0),
                (1, "evaluate", 1),
                (2, "train", 1),
                (2, "evaluate", 2),
            ]
        metrics = (await alice.get(f"/api/trainings/{training.id}/metrics/")).json()
        assert [
            (each["round"], each["train"]["loss"]["mean"], each["evaluate"]["loss"]["clients"]) for each in metrics
        ] == [
            (1, 1.0, 3),
            (2, 0.5, 3),
        ]

    @pytest.mark.parametrize(("every", "evaluated"), [(0, []), (2, [2, 3]), (5, [3])])
    async def test_versions_are_evaluated_as_often_as_the_plan_says(
        self, alice, bob, make_training, workers, every, evaluated
    ):
        training = await call(lambda: make_training(bob, rounds=3, evaluation={"every": every}))
        async with at_work(workers[0]):
            await began(alice, training)
            await ended(alice, training)

        assert [task["round"] for task in workers[0].done if task["kind"] == "evaluate"] == evaluated

    async def test_a_client_that_is_lost_is_left_out(self, alice, bob, carol, dave, make_training, clock):
        training = await call(lambda: make_training(bob, carol, dave))
        await began(alice, training)
        tasks = [await take(client) for client in (bob, carol, dave)]
        await upload_and_report(bob, tasks[0]["id"], update(1.0))
        await upload_and_report(carol, tasks[1]["id"], update(3.0))
        clock.advance(61)

        record = await ended(alice, training)

        assert record["status"] == "completed"
        (only,) = await rounds_of(alice, training)
        assert (only["cohort"], only["reported"]) == (3, 2)
        assert (await params_of(alice, record, 1))["fc.bias"].tolist() == [2.0] * 3

    async def test_a_client_that_lives_is_waited_for(self, alice, bob, carol, make_training, clock):
        training = await call(lambda: make_training(bob, carol))
        await began(alice, training)
        first, second = await take(bob), await take(carol)
        await upload_and_report(bob, first["id"], update(1.0))
        for _ in range(5):
            clock.advance(50)
            answer = await carol.post(f"/api/tasks/{second['id']}/heartbeat/")
            assert answer.json()["proceed"] is True
        await upload_and_report(carol, second["id"], update(2.0))

        record = await ended(alice, training)

        assert (await rounds_of(alice, training))[0]["reported"] == 2
        assert record["status"] == "completed"

    async def test_a_client_that_never_comes_is_given_up_once_another_has(
        self, alice, bob, carol, make_training, clock
    ):
        training = await call(lambda: make_training(bob, carol))
        await began(alice, training)
        clock.advance(24 * 3600)
        await upload_and_report(bob, (await take(bob))["id"], update(1.0))
        clock.advance(61)

        assert (await ended(alice, training))["status"] == "completed"

    async def test_a_client_that_fails_is_left_out(self, alice, bob, carol, make_training):
        training = await call(lambda: make_training(bob, carol))
        await began(alice, training)
        await give_up(bob, await take(bob))
        await upload_and_report(carol, (await take(carol))["id"], update(2.0))

        record = await ended(alice, training)

        assert record["status"] == "completed"
        task = await read(Task.objects.get, participation__client=bob.user)
        assert (task.state, task.reason) == ("failed", "CUDA out of memory")

    async def test_when_all_fail_the_round_is_tried_again_and_then_the_training_says_why_it_stops(
        self, alice, bob, make_training
    ):
        training = await call(lambda: make_training(bob))
        await began(alice, training)
        for attempt in (1, 2, 3):
            task = await take(bob)
            assert task["attempt"] == attempt
            await give_up(bob, task, "patient 17 has no date of birth")

        record = await ended(alice, training)

        assert (record["status"], record["state"]) == ("error", "E")
        assert "round 1 was tried 3 times without success" in record["reason"]
        assert "bob failed" in record["reason"]
        assert "patient" not in record["reason"], "all participants read it; a client's own words are the actor's"
        assert "resume the training" in record["reason"]
        assert [each["state"] for each in await rounds_of(alice, training)] == ["abandoned"] * 3

    async def test_a_training_that_stopped_goes_on_when_it_is_resumed(self, alice, bob, make_training, workers):
        training = await call(lambda: make_training(bob))
        await began(alice, training)
        for _ in range(3):
            await give_up(bob, await take(bob))
        await ended(alice, training)

        await alice.post(f"/api/trainings/{training.id}/resume/")
        async with at_work(workers[0]):
            record = await ended(alice, training)

        assert (record["status"], record["version"]) == ("completed", 1)
        assert [each["attempt"] for each in await rounds_of(alice, training)] == [1, 2, 3, 4]

    async def test_pause_and_resume_in_the_middle(self, alice, bob, carol, make_training, workers):
        training = await call(lambda: make_training(bob, carol))
        await began(alice, training)
        tasks = [(bob, await take(bob)), (carol, await take(carol))]
        await alice.post(f"/api/trainings/{training.id}/pause/")
        for client, task in tasks:
            await upload_and_report(client, task["id"], update())
        record = (await alice.get(f"/api/trainings/{training.id}/")).json()
        assert (record["status"], record["version"]) == ("paused", 0)

        await alice.post(f"/api/trainings/{training.id}/resume/")

        assert (await ended(alice, training))["status"] == "completed"

    async def test_cancelled_in_the_middle_it_stays_where_it_is(self, alice, bob, carol, make_training):
        training = await call(lambda: make_training(bob, carol, rounds=2))
        await began(alice, training)
        for client in (bob, carol):
            await upload_and_report(client, (await take(client))["id"], update())
        await until(alice, training, lambda record: record["round"] == 2)
        await alice.post(f"/api/trainings/{training.id}/cancel/")

        record = await ended(alice, training)

        assert (record["status"], record["version"], record["rounds_done"]) == ("cancelled", 1, 1)
        assert [each["state"] for each in await rounds_of(alice, training)] == ["done", "abandoned"]

    async def test_removing_the_last_client_that_is_missing_closes_the_round(self, alice, bob, carol, make_training):
        training = await call(lambda: make_training(bob, carol))
        await began(alice, training)
        await take(carol)
        await upload_and_report(bob, (await take(bob))["id"], update())

        await alice.request("DELETE", f"/api/trainings/{training.id}/clients/", json={"clients": ["carol"]})

        assert (await ended(alice, training))["status"] == "completed"

    async def test_removing_everybody_stops_the_training_with_a_reason(self, alice, bob, make_training):
        training = await call(lambda: make_training(bob))
        await began(alice, training)
        await take(bob)

        await alice.request("DELETE", f"/api/trainings/{training.id}/clients/", json={"clients": ["bob"]})

        record = await ended(alice, training)
        assert (record["status"], record["reason"]) == (
            "error",
            "no client is left in the training. Add clients, then resume it.",
        )

    async def test_who_joins_takes_part_in_the_next_round(self, alice, bob, dave, make_training):
        training = await call(lambda: make_training(bob, rounds=2))
        await began(alice, training)
        await alice.put(f"/api/trainings/{training.id}/clients/", json={"clients": ["dave"]})
        await upload_and_report(bob, (await take(bob))["id"], update(1.0))
        await until(alice, training, lambda record: record["round"] == 2)

        for client in (bob, dave):
            await upload_and_report(client, (await take(client))["id"], update(2.0))

        assert (await ended(alice, training))["status"] == "completed"
        assert [each["cohort"] for each in await rounds_of(alice, training)] == [1, 2]

    async def test_at_the_quorum_the_round_closes_at_once(self, alice, bob, carol, dave, make_training):
        training = await call(lambda: make_training(bob, carol, dave, closing={"quorum": 2}))
        await began(alice, training)
        late = await take(dave)
        for client in (carol, bob):
            await upload_and_report(client, (await take(client))["id"], update())

        assert (await ended(alice, training))["status"] == "completed"
        answer = await dave.post(f"/api/tasks/{late['id']}/heartbeat/")
        assert answer.json()["proceed"] is False
        accepted = (await read(Round.objects.get)).accepted
        assert [ordinal for ordinal, _, _ in accepted] == [0, 1], "in canonical order, not in the order of arrival"

    async def test_at_the_deadline_the_round_closes_with_who_has_reported(
        self, alice, bob, carol, dave, make_training, clock
    ):
        closing = {"deadline_seconds": 300, "min_reports": 1}
        training = await call(lambda: make_training(bob, carol, dave, closing=closing))
        await began(alice, training)
        tasks = {client: await take(client) for client in (bob, carol, dave)}
        await upload_and_report(bob, tasks[bob]["id"], update())
        for _ in range(6):
            clock.advance(50)
            for client in (carol, dave):
                await client.post(f"/api/tasks/{tasks[client]['id']}/heartbeat/")

        record = await ended(alice, training)

        assert record["status"] == "completed"
        assert (await rounds_of(alice, training))[0]["reported"] == 1

    async def test_too_few_reports_at_the_deadline_are_a_new_attempt(self, alice, bob, carol, make_training, clock):
        closing = {"deadline_seconds": 30, "min_reports": 2}
        training = await call(lambda: make_training(bob, carol, closing=closing))
        await began(alice, training)
        await take(carol)
        await upload_and_report(bob, (await take(bob))["id"], update())
        clock.advance(31)

        await until(alice, training, lambda record: "none of the 2 selected" in record["reason"])

        first, second = await rounds_of(alice, training)
        assert (first["state"], second["attempt"]) == ("abandoned", 2)
        assert first["reason"] == "the deadline of 30 s passed with 1 of 2 reports, 2 are needed."

    async def test_a_share_of_the_participants_is_selected_for_each_round(
        self, alice, bob, carol, dave, make_training, workers
    ):
        training = await call(lambda: make_training(bob, carol, dave, rounds=6, cohort={"fraction": 0.5}))
        async with at_work(*workers):
            await began(alice, training)
            await ended(alice, training)

        rounds = await rounds_of(alice, training)
        assert [each["cohort"] for each in rounds] == [2] * 6
        selected = await read(lambda: [tuple(ordinals_of(number)) for number in range(1, 7)])
        assert len(set(selected)) > 1, "not always the same ones"

    async def test_evaluation_goes_on_without_a_client_that_is_lost(self, alice, bob, carol, make_training, clock):
        training = await call(lambda: make_training(bob, carol, evaluation={"every": 1}))
        await began(alice, training)
        for client in (bob, carol):
            await upload_and_report(client, (await take(client))["id"], update())
        task = await take(bob)
        assert task["kind"] == "evaluate"
        await bob.post(f"/api/tasks/{task['id']}/report/", json=report_of(None))
        clock.advance(61)

        assert (await ended(alice, training))["status"] == "completed"
        (metrics,) = (await alice.get(f"/api/trainings/{training.id}/metrics/")).json()
        assert metrics["evaluate"]["loss"]["clients"] == 1

    async def test_an_update_that_is_damaged_on_the_disk_is_a_new_attempt(self, alice, bob, carol, make_training):
        training = await call(lambda: make_training(bob, carol))
        await began(alice, training)
        await upload_and_report(bob, (await take(bob))["id"], update(1.0))
        flip_a_bit(store.path_of(update(1.0).digest))
        await upload_and_report(carol, (await take(carol))["id"], update(2.0))
        record = await until(
            alice, training, lambda record: "attempt 2" in record["reason"] or record["version"] or True
        )
        await until(alice, training, lambda record: "none of the 2 selected" in record["reason"])

        first, second = await rounds_of(alice, training)
        assert (first["state"], second["attempt"], record["version"]) == ("abandoned", 2, 0)
        assert update(1.0).digest in first["reason"]
        assert "is damaged" in first["reason"]

    async def test_sent_again_the_damaged_update_is_whole_again(self, alice, bob, carol, make_training):
        training = await call(lambda: make_training(bob, carol))
        await began(alice, training)
        await upload_and_report(bob, (await take(bob))["id"], update(1.0))
        flip_a_bit(store.path_of(update(1.0).digest))
        await upload_and_report(carol, (await take(carol))["id"], update(2.0))
        await until(alice, training, lambda record: "none of the 2 selected" in record["reason"])

        for client, file in ((bob, update(1.0)), (carol, update(2.0))):
            await upload_and_report(client, (await take(client))["id"], file)

        record = await ended(alice, training)
        assert (record["status"], record["version"]) == ("completed", 1)


def ordinals_of(number):
    return Task.objects.filter(round__number=number).values_list("participation__ordinal", flat=True)


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


async def test_a_hint_to_the_orchestrator_that_is_lost_is_made_up_for(alice, bob, carol, make_training, clock):
    known, forgotten = await call(lambda: (make_training(carol), make_training(bob)))
    async with orchestrating():
        await began(alice, known)
        await unheard(lambda: trainings.start(training_id=forgotten.id, now=clock.now))
        clock.advance(orchestrator.LOST_HINT_SECONDS)

        assert (await until(alice, forgotten, lambda record: record["round"] == 1))["status"] == "ongoing"


async def test_a_hint_to_a_client_that_is_lost_is_made_up_for(alice, bob, carol, make_training, clock):
    known, forgotten = await call(lambda: (make_training(carol), make_training(bob)))
    asking = asyncio.create_task(take(bob))
    async with orchestrating():
        await began(alice, known)
        await unheard(lambda: start(forgotten))
        clock.advance(orchestrator.LOST_HINT_SECONDS)

        async with asyncio.timeout(10):
            assert (await asking)["training"] == str(forgotten.id)


async def unheard(service):
    """Run a service whose hints reach nobody."""
    HINTS.bind(None)
    await call(service)
    HINTS.bind(asyncio.get_running_loop())


async def test_a_restart_forgives_what_happened_while_the_server_was_away(alice, bob, carol, make_training, clock):
    training = await call(lambda: make_training(bob, carol))
    async with orchestrating():
        await began(alice, training)
        task = await take(bob)
    clock.advance(3600)

    async with orchestrating():
        await until(alice, training, lambda record: "1 at work" in record["reason"])
        clock.advance(59)
        await upload_and_report(bob, task["id"], update(1.0))
        assert (await read(Task.objects.get, id=task["id"])).state == "reported"
        assert [each["attempt"] for each in await rounds_of(alice, training)] == [1]


async def test_an_aggregation_that_a_crash_interrupted_is_taken_up_again(alice, bob, carol, make_training, clock):
    """The claim of whoever worked on it is dropped by the next server, which computes the same version."""
    training = await call(lambda: start(make_training(bob, carol)))
    for client, add in ((bob, 1.0), (carol, 2.0)):
        await upload_and_report(client, await call(lease, client), update(add))
    await call(settle, training)
    assert await call(aggregation.claim, training_id=training.id, now=clock.now), "and then it is killed"

    async with orchestrating():
        record = await ended(alice, training)

    assert record["status"] == "completed"
    assert (await params_of(alice, record, 1))["fc.bias"].tolist() == [1.5] * 3


async def test_a_full_disk_pauses_the_training_until_somebody_has_made_room(
    small_disk, alice, bob, carol, make_training
):
    large = {"w": np.zeros(75_000, np.float32)}
    model = await call(store_model, alice, large, frozenset(), small_disk.folder)
    training = await call(lambda: start(make_training(bob, carol, model=model)))
    for client, add in ((bob, 1), (carol, 2)):
        await upload_and_report(
            client, await call(lease, client), file_of({"w": large["w"] + np.float32(add)}, frozenset())
        )
    small_disk.resize(1_000_000)

    async with orchestrating():
        record = await until(alice, training, lambda record: record["status"] != "ongoing")
        assert (record["status"], record["version"]) == ("paused", 0)
        assert record["reason"] == "The server's disk is full. Free some space there, then resume the training."
        assert list((small_disk.folder / "tmp").iterdir()) == []

        small_disk.resize(2 * 2**20)
        await alice.post(f"/api/trainings/{training.id}/resume/")

        assert (await ended(alice, training))["status"] == "completed"


class Failing:
    """An aggregation that the machine disturbs so many times."""

    def __init__(self, times):
        self.left = times

    def __call__(self, *arguments):
        if self.left:
            self.left -= 1
            raise MemoryError("no memory left")
        return aggregate(*arguments)


@pytest.fixture
def disturbed(monkeypatch):
    """Disturb aggregations: `disturbed(2)`."""
    monkeypatch.setattr(orchestrator, "TROUBLE_SECONDS", 0.0)
    return lambda times: monkeypatch.setattr(orchestrator, "aggregate", Failing(times))


async def test_what_is_the_machines_fault_is_tried_again_with_the_same_updates(
    alice, bob, carol, make_training, disturbed
):
    disturbed(orchestrator.MAX_TROUBLES - 1)
    training = await call(lambda: start(make_training(bob, carol)))
    for client, add in ((bob, 1.0), (carol, 2.0)):
        await upload_and_report(client, await call(lease, client), update(add))

    async with orchestrating():
        record = await ended(alice, training)

    assert record["status"] == "completed"
    assert [each["attempt"] for each in await rounds_of(alice, training)] == [1]


async def test_what_does_not_stop_failing_is_a_new_attempt_with_the_reason(alice, bob, carol, make_training, disturbed):
    disturbed(orchestrator.MAX_TROUBLES)
    training = await call(lambda: start(make_training(bob, carol)))
    for client, add in ((bob, 1.0), (carol, 2.0)):
        await upload_and_report(client, await call(lease, client), update(add))

    async with orchestrating():
        await until(alice, training, lambda record: "none of the 2 selected" in record["reason"])

    first, second = await rounds_of(alice, training)
    assert (first["state"], second["attempt"]) == ("abandoned", 2)
    assert first["reason"] == "The aggregation failed 5 times, last with MemoryError: no memory left."


async def test_one_trainings_trouble_does_not_stop_the_others(alice, bob, carol, make_training, monkeypatch):
    cursed, other = await call(lambda: (make_training(bob), make_training(carol)))
    look = rounds.look

    def curse(*, training_id, now):
        if training_id == cursed.id:
            raise RuntimeError("a row that nobody expected")
        return look(training_id=training_id, now=now)

    monkeypatch.setattr(rounds, "look", curse)
    async with orchestrating():
        await alice.post(f"/api/trainings/{cursed.id}/start/")
        await began(alice, other)


async def test_updates_are_kept_for_as_many_rounds_as_the_plan_says(
    alice, bob, carol, dave, make_training, workers, soon
):
    training = await call(lambda: make_training(bob, carol, dave, rounds=4, keep_updates=1))
    async with orchestrating(), at_work(*workers):
        await began(alice, training)
        await ended(alice, training)

    kept = await read(
        lambda: sorted(set(Update.objects.exclude(blob=None).values_list("task__round__number", flat=True)))
    )
    assert kept == [4]
    assert await read(Update.objects.count) == 12, "the rows stay"
    assert (await read(Training.objects.get)).status == "completed"
