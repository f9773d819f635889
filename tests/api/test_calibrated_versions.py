"""A version's clients tell how far its confidence is borne out: a temperature, conformal scores; and never data."""

import numpy as np
import pytest

from hansa.protocol.tasks import Task as TaskMessage
from hansa.server.dashboard.charts import Point
from hansa.server.dashboard.series import series
from hansa.server.lifecycle.bridge import call, read
from hansa.server.registry.models import Calibration, Metric
from hansa.server.trainings.models import Round, Task, Training
from hansa.uncertainty import conformal, sketches, temperature
from hansa.uncertainty.calibration import calibration_error, merged, tally
from hansa.uncertainty.probabilities import softmax
from hansa.uncertainty.scores import least_ambiguous, of_labels
from hansa.uncertainty.sketches import Grid, sketch_of
from support.answers import nothing_changes, shown
from support.work import INSTANCE, aggregated, settle, start, update

EVERY = {"evaluation": {"every": 1}}
TEMPERATURE = {**EVERY, "uncertainty": {"calibration": {"temperature": True}}}
BOTH = {**EVERY, "uncertainty": {"calibration": {"temperature": True, "scores": "lac"}}}


def examples(seed, count=40):
    """Logits of an overconfident model, and the right classes."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(count, 3)) * 6
    return logits, np.array([rng.choice(3, p=row) for row in softmax(logits / 3)])


def losses_report(logits, labels):
    sums, tallied = temperature.loss_sums(logits, labels), tally(softmax(logits), labels)
    return {
        "losses": {"grid": sums.grid, "sums": list(sums.sums), "count": sums.count},
        "tally": as_json(tallied),
    }


def as_json(tallied):
    return {
        "counts": list(tallied.counts),
        "correct": list(tallied.correct),
        "confidences": list(tallied.confidences),
        "brier": tallied.brier,
    }


def own_scores(logits, labels, divided_by):
    return sketch_of(of_labels(least_ambiguous(temperature.tempered(logits, divided_by)), labels), Grid.UNIT)


def scores_report(sketch):
    return {"scores": {"grid": sketch.grid.value, "cells": list(sketch.cells), "counts": list(sketch.counts)}}


async def asked(client, **request):
    answer = await client.post("/api/tasks/next/", json={"instance": INSTANCE, **request})
    return None if answer.status_code == 204 else shown(answer, TaskMessage)


async def tell(client, task, calibration, count=40, **report):
    body = {"num_examples": count, "calibration": calibration, **report}
    return await client.post(f"/api/tasks/{task.id}/report/", json=body)


async def evaluated(client, seed):
    task = await asked(client)
    answer = await tell(client, task, losses_report(*examples(seed)))
    assert answer.status_code == 200, answer.text


async def calibration_of(training, number=1):
    found = Calibration.objects.filter(version__model=training.model_id, version__number=number)
    return await read(found.first)


async def the_round(training):
    return await read(Round.objects.filter(training=training).latest, "attempt")


@pytest.fixture
async def tempered(make_training, bob, carol):
    """A training of one round that wants a temperature; Bob and Carol are asked to evaluate its version."""
    return await aggregated(await call(lambda: start(make_training(bob, carol, **TEMPERATURE))), bob, carol)


@pytest.fixture
async def scored(make_training, bob, carol):
    """A training of one round that wants both; Bob and Carol have evaluated its version."""
    training = await aggregated(await call(lambda: start(make_training(bob, carol, **BOTH))), bob, carol)
    await evaluated(bob, 1)
    await evaluated(carol, 2)
    await call(settle, training)
    return training


# A temperature


async def test_clients_are_asked_for_their_losses_where_the_plan_wants_a_temperature(bob, tempered):
    task = await asked(bob)
    assert (task.kind, task.calibration.losses, task.calibration.scores) == ("evaluate", True, None)
    assert task.protocol == 1, "clients of before evaluate it as well, and tell no losses"


async def test_clients_are_asked_for_nothing_more_where_it_does_not(bob, make_training):
    await aggregated(await call(lambda: start(make_training(bob, **EVERY))), bob)
    task = await asked(bob)
    assert (task.kind, task.calibration) == ("evaluate", None)

    answer = await tell(bob, task, losses_report(*examples(1)))
    assert (answer.status_code, "was not asked for: leave it out" in answer.text) == (422, True)


async def test_the_version_gets_the_temperature_that_suits_all_examples_together(bob, carol, tempered):
    await evaluated(bob, 1)
    await evaluated(carol, 2)
    await call(settle, tempered)

    pooled = [np.concatenate(parts) for parts in zip(examples(1), examples(2), strict=True)]
    found = await calibration_of(tempered)
    best = temperature.best(temperature.loss_sums(*pooled))
    assert (found.temperature, found.examples, found.clients) == (best.value, 80, 2)
    assert 1.5 < found.temperature < 6, "they were drawn with 3"
    assert found.ece == calibration_error(tally(softmax(pooled[0]), pooled[1]))
    assert found.loss_tempered < found.loss
    assert (await the_round(tempered)).state == "done"


async def test_whatever_comes_first_the_temperature_is_the_same(bob, carol, tempered):
    await evaluated(carol, 1)
    await evaluated(bob, 2)
    await call(settle, tempered)

    pooled = [np.concatenate(parts) for parts in zip(examples(2), examples(1), strict=True)]
    assert (await calibration_of(tempered)).temperature == temperature.best(temperature.loss_sums(*pooled)).value


async def test_what_a_single_client_told_is_let_go_once_it_is_added_up(bob, carol, tempered):
    await evaluated(bob, 1)
    assert await read(Task.objects.filter(calibration__isnull=False).count) == 1
    await evaluated(carol, 2)
    await call(settle, tempered)

    assert not await read(Task.objects.filter(calibration__isnull=False).exists)


async def test_where_nobody_tells_losses_the_round_is_done_all_the_same_and_says_so(bob, carol, tempered):
    for client in (bob, carol):
        task = await asked(client)
        body = {"num_examples": 4, "metrics": {"loss": 1.0}}
        assert (await client.post(f"/api/tasks/{task.id}/report/", json=body)).status_code == 200
    await call(settle, tempered)

    done, found = await the_round(tempered), await calibration_of(tempered)
    assert done.state == "done"
    assert "no temperature, since no client told its losses" in done.reason
    assert found.temperature is None
    assert found.reason == "the version has no temperature, since no client told its losses"


async def test_the_temperature_stands_with_the_version(alice, bob, carol, tempered):
    await evaluated(bob, 1)
    await evaluated(carol, 2)
    await call(settle, tempered)

    listed = (await alice.get(f"/api/models/{tempered.model_id}/versions/")).json()
    one = (await alice.get(f"/api/models/{tempered.model_id}/versions/1/")).json()
    assert listed[0]["calibration"] is None
    assert listed[1]["calibration"] == one["calibration"]
    assert one["calibration"]["temperature"] == (await calibration_of(tempered)).temperature
    assert one["calibration"]["clients"] == 2


@pytest.mark.parametrize(
    ("spoiled", "said"),
    [
        ({"losses": {"grid": "temperatures-9", "sums": [0] * 65, "count": 40}}, "Update the client"),
        ({"losses": {"grid": "temperatures-8", "sums": [0] * 64, "count": 40}}, "64 numbers; 65 are wanted"),
        ({"losses": {"grid": "temperatures-8", "sums": [2**60] * 65, "count": 1}}, "have a loss of at most"),
        ({"losses": {"grid": "temperatures-8", "sums": [0] * 65, "count": 41}}, "the report is of 40"),
        ({"losses": {"grid": "temperatures-8", "sums": [0] * 65, "count": 0}}, "at least 1"),
        ({}, "calibration.losses is missing"),
        (
            {
                "losses": {"grid": "temperatures-8", "sums": [0] * 65, "count": 40},
                "scores": {"grid": "unit-64", "cells": [1], "counts": [40]},
            },
            "calibration.scores was not asked for",
        ),
    ],
)
async def test_losses_that_cannot_be_true_are_refused_and_change_nothing(bob, tempered, spoiled, said):
    task = await asked(bob)
    async with nothing_changes():
        answer = await tell(bob, task, spoiled)
    assert answer.status_code == 422
    assert said in answer.text


async def test_an_update_comes_without_a_calibration(bob, carol, make_training):
    await call(lambda: start(make_training(bob, carol, **TEMPERATURE)))
    task, file = await asked(bob), update(1.0)
    assert task.calibration is None
    await bob.put(f"/api/tasks/{task.id}/update/{file.digest}/", content=file.content)
    answer = await tell(bob, task, losses_report(*examples(1)), digest=file.digest)

    assert answer.status_code == 422
    assert "calibration.losses was not asked for" in answer.text


async def test_a_training_that_is_cancelled_keeps_the_temperature_of_those_who_have_told(alice, bob, tempered):
    await evaluated(bob, 1)
    assert (await alice.post(f"/api/trainings/{tempered.id}/cancel/")).status_code == 202

    assert (await calibration_of(tempered)).examples == 40
    assert not await read(Task.objects.filter(calibration__isnull=False).exists)


# Scores


async def test_after_the_evaluation_clients_are_asked_for_scores_under_the_temperature(bob, scored):
    task = await asked(bob)

    assert (await the_round(scored)).state == "calibrating"
    assert (task.kind, task.version, task.protocol) == ("calibrate", 1, 3)
    assert (task.calibration.scores, task.calibration.losses) == ("lac", False)
    assert task.calibration.temperature == (await calibration_of(scored)).temperature
    assert (await bob.get(task.params)).status_code == 200


async def test_the_scores_of_all_clients_are_merged_and_each_sees_its_own_coverage(alice, bob, carol, scored):
    divided_by = (await calibration_of(scored)).temperature
    sent = {}
    for client, seed in ((bob, 1), (carol, 2)):
        sent[client] = own_scores(*examples(seed), divided_by)
        answer = await tell(client, await asked(client), scores_report(sent[client]), metrics={"ece_tempered": 0.1})
        assert answer.status_code == 200, answer.text
    await call(settle, scored)

    found, pooled = await calibration_of(scored), sketches.merged(sent.values())
    assert (found.rule, found.score_examples, found.score_clients) == ("lac", 80, 2)
    assert (found.scores["cells"], found.scores["counts"]) == (list(pooled.cells), list(pooled.counts))
    limit = conformal.threshold([*sent.values()], 1 - 0.9)
    for client, sketch in sent.items():
        theirs = Metric.objects.filter(reporter=client.user).values_list("key", "value")
        own = dict(await read(list, theirs))
        assert own["coverage_0.9"] == conformal.sketched_coverage(sketch, limit).share
        assert own["ece_tempered"] == 0.1
    assert (await the_round(scored)).state == "done"
    assert not await read(Task.objects.filter(calibration__isnull=False).exists)

    drawn = {(each.kind, each.key): each for each in await read(series, alice.user, await fresh(scored), "bob")}
    assert drawn["version", "temperature"].points == [Point(1, divided_by, divided_by, divided_by, 2)]
    assert drawn["version", "ece"].points[0].mean == found.ece
    shares = [conformal.sketched_coverage(sketch, limit).share for sketch in sent.values()]
    covered = drawn["calibrate", "coverage_0.9"]
    assert covered.points == [Point(1, pytest.approx(sum(shares) / 2), min(shares), max(shares), 2)]
    assert covered.own == {1: shares[0]}


async def fresh(training):
    return await read(Training.objects.get, id=training.id)


async def test_a_client_whose_every_score_is_0_has_its_coverage_too(bob, carol, scored):
    for client in (bob, carol):
        report = {"grid": "unit-64", "cells": [0], "counts": [40]}
        assert (await tell(client, await asked(client), {"scores": report})).status_code == 200
    await call(settle, scored)

    assert await read(Metric.objects.filter(key="coverage_0.9", value=1.0).count) == 2


async def test_who_is_lost_while_it_calibrates_loses_nothing_of_the_round(bob, carol, scored):
    task = await asked(bob)
    assert (await tell(bob, task, scores_report(own_scores(*examples(1), 1.0)))).status_code == 200
    lost = await asked(carol)
    await carol.post(f"/api/tasks/{lost.id}/release/", json={"reason": "no memory", "failed": True})
    await call(settle, scored)

    found = await calibration_of(scored)
    assert (found.score_examples, found.score_clients) == (40, 1)
    assert (await the_round(scored)).state == "done"


async def test_without_a_single_score_the_version_has_no_sets_and_says_so(bob, carol, scored):
    for client in (bob, carol):
        task = await asked(client)
        await client.post(f"/api/tasks/{task.id}/release/", json={"reason": "it cannot", "failed": True})
    await call(settle, scored)

    done, found = await the_round(scored), await calibration_of(scored)
    assert done.state == "done"
    assert found.rule == ""
    assert found.temperature is not None, "it keeps what the evaluation came to"
    assert "no sets or intervals, since no client told its scores" in found.reason
    assert found.reason in done.reason


async def test_a_client_that_does_not_know_what_calibrating_is_is_not_told_and_not_waited_for(bob, carol, scored):
    assert await asked(bob, protocol=2) is None
    task = await read(Task.objects.select_related("round").get, kind="calibrate", participation__client=bob.user)
    assert (task.state, task.round.state) == ("failed", "calibrating")
    assert "speaks version 2 of the protocol, and calibrating needs 3" in task.reason

    other = await asked(carol)
    assert (await tell(carol, other, scores_report(own_scores(*examples(2), 1.0)))).status_code == 200
    await call(settle, scored)
    assert (await the_round(scored)).state == "done"


@pytest.mark.parametrize(
    ("spoiled", "said"),
    [
        ({"grid": "positive-64", "cells": [1], "counts": [40]}, "is counted on 'unit-64'"),
        ({"grid": "mine", "cells": [1], "counts": [40]}, "is counted on 'unit-64'"),
        ({"grid": "unit-64", "cells": [5, 1], "counts": [20, 20]}, "cells ascend"),
        ({"grid": "unit-64", "cells": [9999], "counts": [40]}, "from 0 to"),
        ({"grid": "unit-64", "cells": [1], "counts": [41]}, "the report is of 40"),
    ],
)
async def test_scores_that_cannot_be_true_are_refused_and_change_nothing(bob, scored, spoiled, said):
    task = await asked(bob)
    async with nothing_changes():
        answer = await tell(bob, task, {"scores": spoiled})
    assert answer.status_code == 422
    assert said in answer.text


async def test_a_calibration_has_its_scores_and_no_file(bob, scored):
    task, file = await asked(bob), update(1.0)
    answer = await bob.post(f"/api/tasks/{task.id}/report/", json={"num_examples": 3})
    assert (answer.status_code, "'calibration' is missing" in answer.text) == (422, True)
    sent = await bob.put(f"/api/tasks/{task.id}/update/{file.digest}/", content=file.content)
    assert sent.status_code == 404


async def test_the_same_report_again_has_the_same_receipt_and_counts_once(bob, carol, scored):
    task, report = await asked(bob), scores_report(own_scores(*examples(1), 1.0))
    first = await tell(bob, task, report)
    second = await tell(bob, task, report)
    assert first.json() == second.json()
    assert (await tell(carol, await asked(carol), report)).status_code == 200
    await call(settle, scored)

    assert (await tell(bob, task, report)).json() == first.json()
    assert (await calibration_of(scored)).score_examples == 80


async def test_whatever_is_merged_is_a_sum_of_tallies(bob, carol, scored):
    tallies = [tally(softmax(logits / 2), labels) for logits, labels in (examples(1), examples(2))]
    for client, seed, own in ((bob, 1, tallies[0]), (carol, 2, tallies[1])):
        report = {**scores_report(own_scores(*examples(seed), 2.0)), "tally": as_json(own)}
        assert (await tell(client, await asked(client), report)).status_code == 200
    await call(settle, scored)

    assert (await calibration_of(scored)).ece_tempered == calibration_error(merged(tallies))
