"""GET /api/trainings/<id>/rounds/…, …/metrics/: the record of what happened, and its learning curves."""

import pytest

from hansa.protocol.trainings import Round, RoundMetrics, Spread, TaskInfo
from hansa.server.lifecycle.bridge import call, read
from hansa.server.trainings.models import Task
from support.answers import refused, shown
from support.work import add_up, lease, report_of, settle, start, update, upload


def url(training, rest=""):
    return f"/api/trainings/{training.id}/rounds/{rest}"


async def report(client, training, file, examples, **metrics):
    task = await call(lease, client)
    await upload(client, task, file)
    answer = await client.post(f"/api/tasks/{task.id}/report/", json=report_of(file, examples, metrics))
    assert answer.status_code == 200


@pytest.fixture
async def first_round(bob, carol, started, clock):
    """Round 1 with Bob's 10 and Carol's 30 examples, done; round 2 has begun."""
    await report(bob, started, update(1.0), 10, loss=1.0)
    await report(carol, started, update(2.0), 30, loss=2.0, accuracy=0.5)
    await call(settle, started)
    await call(add_up, started)
    return started


async def test_before_the_first_round_there_is_none(alice, training):
    assert shown(await alice.get(url(training)), list[Round]) == []


async def test_every_round_says_where_it_is_and_why(alice, first_round, clock):
    rounds = shown(await alice.get(url(first_round)), list[Round])

    now = clock.now.isoformat()
    assert rounds[0] == Round(
        number=1,
        attempt=1,
        state="done",
        reason="round 1 is aggregated; the plan does not evaluate it",
        base_version=0,
        version=1,
        cohort=2,
        reported=2,
        bytes=2 * len(update()),
        opened_at=now,
        closed_at=now,
        aggregated_at=now,
        done_at=now,
        closing_reason="2 of 2 clients have reported",
    )
    assert (rounds[1].number, rounds[1].state, rounds[1].base_version, rounds[1].version) == (2, "collecting", 1, None)


async def test_a_round_shows_what_every_client_did(alice, bob, carol, first_round, clock):
    tasks = shown(await alice.get(url(first_round, "1/")), Round).tasks

    rows = await read(lambda: {row.participation.ordinal: row for row in tasks_of(first_round, 1)})
    now = clock.now.isoformat()
    assert tasks[1] == TaskInfo(
        id=str(rows[1].id),
        client=carol.id,
        username="carol",
        ordinal=1,
        kind="train",
        state="reported",
        reason="",
        leased_at=now,
        uploaded_at=now,
        reported_at=now,
        num_examples=30,
        weight=0.75,
        digest=update(2.0).digest,
        norm=tasks[1].norm,
        verdict="accepted",
        bytes=len(update()),
        metrics={"loss": 2.0, "accuracy": 0.5},
        cosine=tasks[1].cosine,
    )
    assert tasks[1].norm == pytest.approx(6.0)
    assert tasks[1].cosine == pytest.approx(1.0)  # Bob's update points the same way
    assert [(task.username, task.weight) for task in tasks] == [("bob", 0.25), ("carol", 0.75)]


def tasks_of(training, number):
    return Task.objects.filter(round__training=training, round__number=number).select_related("participation")


async def test_equal_weighting_gives_every_client_the_same_share(alice, bob, carol, make_training):
    training = await call(
        lambda: start(make_training(bob, carol, aggregator={"kind": "weighted_mean", "weighting": "equal"}))
    )
    await report(bob, training, update(1.0), 10, loss=1.0)
    await report(carol, training, update(2.0), 30, loss=2.0)
    await call(settle, training)
    await call(add_up, training)

    tasks = shown(await alice.get(url(training, "1/")), Round).tasks
    assert [task.weight for task in tasks] == [0.5, 0.5]
    model = (await alice.get(f"/api/trainings/{training.id}/")).json()["model"]
    assert (await alice.get(f"/api/models/{model}/versions/1/params/")).content == update(1.5).content


async def test_a_round_that_does_not_exist_is_told_with_those_that_do(alice, started):
    for number in ("0", "2", str(10**30)):
        refused(await alice.get(url(started, f"{number}/")), 404, "not_found", f"no round {number}", "it has 1")


async def test_participants_see_of_each_other_who_stands_where_and_no_more(bob, first_round):
    bobs, carols = shown(await bob.get(url(first_round, "1/")), Round).tasks

    assert (bobs.num_examples, bobs.metrics, bobs.weight) == (10, {"loss": 1.0}, 0.25)
    assert bobs.digest is not None
    assert (carols.username, carols.state, carols.reported_at) == ("carol", "reported", bobs.reported_at)
    told = (carols.num_examples, carols.metrics, carols.weight, carols.digest, carols.norm, carols.bytes, carols.reason)
    assert told == (None, {}, None, None, None, None, "")
    assert (bobs.cosine, carols.cosine) == (pytest.approx(1.0), None)


async def test_what_a_client_said_of_its_failure_is_for_the_actor(alice, bob, carol, started):
    task = await call(lease, carol)
    said = "FileNotFoundError: /srv/patients/mueller.csv"
    await carol.post(f"/api/tasks/{task.id}/release/", json={"reason": said, "failed": True})

    assert said in (await alice.get(url(started, "1/"))).text
    assert said not in (await bob.get(url(started, "1/"))).text
    assert said not in (await bob.get(f"/api/trainings/{started.id}/")).text


async def test_metrics_are_means_over_examples_with_their_spread(alice, first_round):
    (metrics,) = shown(await alice.get(f"/api/trainings/{first_round.id}/metrics/"), list[RoundMetrics])

    assert metrics == RoundMetrics(
        round=1,
        version=1,
        train={
            "accuracy": Spread(mean=0.5, minimum=0.5, maximum=0.5, clients=1),
            "loss": Spread(mean=1.75, minimum=1.0, maximum=2.0, clients=2),
        },
        evaluate={},
    )


async def test_the_mean_of_large_metrics_is_a_number(alice, bob, carol, started):
    for client, add in ((bob, 1.0), (carol, 2.0)):
        await report(client, started, update(add), 1000, loss=1.7e308)
    await call(settle, started)
    await call(add_up, started)

    (metrics,) = shown(await alice.get(f"/api/trainings/{started.id}/metrics/"), list[RoundMetrics])
    assert metrics.train["loss"].mean == pytest.approx(1.7e308)


async def test_evaluations_stand_apart_from_training(alice, bob, carol, evaluating):
    for client, accuracy, examples in ((bob, 0.5, 10), (carol, 1.0, 30)):
        task = await call(lease, client)
        body = report_of(None, examples, {"accuracy": accuracy})
        assert (await client.post(f"/api/tasks/{task.id}/report/", json=body)).status_code == 200
    await call(settle, evaluating)

    (metrics,) = shown(await alice.get(f"/api/trainings/{evaluating.id}/metrics/"), list[RoundMetrics])
    assert metrics.evaluate == {"accuracy": Spread(mean=0.875, minimum=0.5, maximum=1.0, clients=2)}
    assert metrics.train.keys() == {"loss"}
    (shown_round,) = shown(await alice.get(url(evaluating)), list[Round])
    assert (shown_round.state, shown_round.cohort, shown_round.reported) == ("done", 2, 2)
    assert shown_round.reason == "2 of 2 clients have evaluated the version"
    assert (await alice.get(f"/api/trainings/{evaluating.id}/")).json()["status"] == "completed"


@pytest.mark.parametrize("rest", ["rounds/", "rounds/1/", "metrics/"])
async def test_participants_may_see_it_and_strangers_may_not(bob, root, mallory, first_round, rest):
    path = f"/api/trainings/{first_round.id}/{rest}"
    for person in (bob, root):
        assert (await person.get(path)).status_code == 200
    refused(await mallory.get(path), 404, "not_found", "not yours to see")
