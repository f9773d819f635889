"""Trainings move on by themselves, from the first offer to the last version, whatever their clients do."""

import pytest

from hansa.server.lifecycle.bridge import call, read
from hansa.server.trainings.models import Round, Task
from support.federation import Worker, at_work, began, ended, give_up, moved_by, params_of, rounds_of, take, until
from support.work import BUFFERS, report_of, small_params, update, upload_and_report

pytestmark = pytest.mark.usefixtures("orchestrator")


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


async def test_a_training_runs_from_its_start_to_its_end(alice, bob, carol, dave, make_training, workers):
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
    alice, bob, carol, dave, make_training, workers
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
async def test_versions_are_evaluated_as_often_as_the_plan_says(alice, bob, make_training, workers, every, evaluated):
    training = await call(lambda: make_training(bob, rounds=3, evaluation={"every": every}))
    async with at_work(workers[0]):
        await began(alice, training)
        await ended(alice, training)

    assert [task["round"] for task in workers[0].done if task["kind"] == "evaluate"] == evaluated


async def test_a_client_that_is_lost_is_left_out(alice, bob, carol, dave, make_training, clock):
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


async def test_a_client_that_lives_is_waited_for(alice, bob, carol, make_training, clock):
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


async def test_a_client_that_never_comes_is_given_up_once_another_has(alice, bob, carol, make_training, clock):
    training = await call(lambda: make_training(bob, carol))
    await began(alice, training)
    clock.advance(24 * 3600)
    await upload_and_report(bob, (await take(bob))["id"], update(1.0))
    clock.advance(61)

    assert (await ended(alice, training))["status"] == "completed"


async def test_a_client_that_fails_is_left_out(alice, bob, carol, make_training):
    training = await call(lambda: make_training(bob, carol))
    await began(alice, training)
    await give_up(bob, await take(bob))
    await upload_and_report(carol, (await take(carol))["id"], update(2.0))

    record = await ended(alice, training)

    assert record["status"] == "completed"
    task = await read(Task.objects.get, participation__client=bob.user)
    assert (task.state, task.reason) == ("failed", "CUDA out of memory")


async def test_when_all_fail_the_round_is_tried_again_and_then_the_training_says_why_it_stops(
    alice, bob, make_training
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


async def test_a_training_that_stopped_goes_on_when_it_is_resumed(alice, bob, make_training, workers):
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


async def test_pause_and_resume_in_the_middle(alice, bob, carol, make_training, workers):
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


async def test_cancelled_in_the_middle_it_stays_where_it_is(alice, bob, carol, make_training):
    training = await call(lambda: make_training(bob, carol, rounds=2))
    await began(alice, training)
    for client in (bob, carol):
        await upload_and_report(client, (await take(client))["id"], update())
    await until(alice, training, lambda record: record["round"] == 2)
    await alice.post(f"/api/trainings/{training.id}/cancel/")

    record = await ended(alice, training)

    assert (record["status"], record["version"], record["rounds_done"]) == ("cancelled", 1, 1)
    assert [each["state"] for each in await rounds_of(alice, training)] == ["done", "abandoned"]


async def test_removing_the_last_client_that_is_missing_closes_the_round(alice, bob, carol, make_training):
    training = await call(lambda: make_training(bob, carol))
    await began(alice, training)
    await take(carol)
    await upload_and_report(bob, (await take(bob))["id"], update())

    await alice.request("DELETE", f"/api/trainings/{training.id}/clients/", json={"clients": ["carol"]})

    assert (await ended(alice, training))["status"] == "completed"


async def test_removing_everybody_stops_the_training_with_a_reason(alice, bob, make_training):
    training = await call(lambda: make_training(bob))
    await began(alice, training)
    await take(bob)

    await alice.request("DELETE", f"/api/trainings/{training.id}/clients/", json={"clients": ["bob"]})

    record = await ended(alice, training)
    assert (record["status"], record["reason"]) == (
        "error",
        "no client is left in the training. Add clients, then resume it.",
    )


async def test_who_joins_takes_part_in_the_next_round(alice, bob, dave, make_training):
    training = await call(lambda: make_training(bob, rounds=2))
    await began(alice, training)
    await alice.put(f"/api/trainings/{training.id}/clients/", json={"clients": ["dave"]})
    await upload_and_report(bob, (await take(bob))["id"], update(1.0))
    await until(alice, training, lambda record: record["round"] == 2)

    for client in (bob, dave):
        await upload_and_report(client, (await take(client))["id"], update(2.0))

    assert (await ended(alice, training))["status"] == "completed"
    assert [each["cohort"] for each in await rounds_of(alice, training)] == [1, 2]


async def test_at_the_quorum_the_round_closes_at_once(alice, bob, carol, dave, make_training):
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


async def test_at_the_deadline_the_round_closes_with_who_has_reported(alice, bob, carol, dave, make_training, clock):
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


async def test_too_few_reports_at_the_deadline_are_a_new_attempt(alice, bob, carol, make_training, clock):
    closing = {"deadline_seconds": 30, "min_reports": 2}
    training = await call(lambda: make_training(bob, carol, closing=closing))
    await began(alice, training)
    await take(carol)
    await upload_and_report(bob, (await take(bob))["id"], update())
    clock.advance(31)

    await until(alice, training, lambda record: "none of the 2 selected" in record["reason"])

    first, second = await rounds_of(alice, training)
    assert (first["state"], second["attempt"]) == ("abandoned", 2)
    assert first["reason"].startswith(
        "the deadline of 30 s passed with 1 of 2 reports, 2 are needed. A plan with a longer"
    )


async def test_a_share_of_the_participants_is_selected_for_each_round(alice, bob, carol, dave, make_training, workers):
    training = await call(lambda: make_training(bob, carol, dave, rounds=6, cohort={"fraction": 0.5}))
    async with at_work(*workers):
        await began(alice, training)
        await ended(alice, training)

    rounds = await rounds_of(alice, training)
    assert [each["cohort"] for each in rounds] == [2] * 6
    selected = await read(lambda: [tuple(ordinals_of(number)) for number in range(1, 7)])
    assert len(set(selected)) > 1, "not always the same ones"


async def test_evaluation_goes_on_without_a_client_that_is_lost(alice, bob, carol, make_training, clock):
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


def ordinals_of(number):
    return Task.objects.filter(round__number=number).values_list("participation__ordinal", flat=True)
