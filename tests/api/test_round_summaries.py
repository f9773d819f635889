"""What a round's clients measured is kept with it when it is done, and read from there."""

import pytest

from hansa.protocol import trainings as wire
from hansa.protocol.tasks import TaskKind
from hansa.server.lifecycle.bridge import call, read
from hansa.server.trainings import summaries
from hansa.server.trainings.models import Round, Task
from support.answers import shown
from support.work import add_up, lease, report_of, settle, start, update, upload


async def done_round(alice, bob, carol, make_training, **plan):
    """Two clients report, and the round is done. Bob has 10 examples, Carol 30."""
    training = await call(lambda: start(make_training(bob, carol, **{"rounds": 2, "evaluation": {"every": 0}, **plan})))
    for client, examples, loss in ((bob, 10, 4.0), (carol, 30, 8.0)):
        task = await call(lease, client)
        await upload(client, task, update(1.0))
        said = report_of(update(1.0), examples, {"loss": loss})
        assert (await client.post(f"/api/tasks/{task.id}/report/", json=said)).status_code == 200
    await call(settle, training)
    await call(add_up, training)
    await call(settle, training)
    return training


async def test_of_a_round_that_goes_on_participants_are_told_nothing(alice, bob, carol, make_training):
    training = await done_round(alice, bob, carol, make_training)
    row = await read(Round.objects.get, training=training.id, number=1)
    known = [(await metrics_of(who, training))[0].train.keys() for who in (alice, bob)]
    await call(lambda: Round.objects.filter(id=row.id).update(measured=None))

    assert known == [{"loss"}, {"loss"}]
    told = [(await metrics_of(who, training))[0] for who in (alice, bob)]
    assert [each.train.keys() for each in told] == [{"loss"}, set()], "what each report changes is that client's value"
    assert [each.version for each in told] == [1, 1]


async def metrics_of(person, training):
    return shown(await person.get(f"/api/trainings/{training.id}/metrics/"), list[wire.RoundMetrics])


async def test_a_round_that_is_done_keeps_the_spread_over_its_clients_weighted_by_examples(
    alice, bob, carol, make_training
):
    training = await done_round(alice, bob, carol, make_training)

    row = await read(Round.objects.get, training=training.id, number=1)
    assert {**row.measured, "update": None} == {
        "train": {"loss": [7.0, 4.0, 8.0, 2]},
        "evaluate": {},
        "update": None,
    }
    assert row.measured["update"] == {
        "norm": pytest.approx([3.0, 3.0, 3.0, 2]),
        "cosine": pytest.approx([1.0, 1.0, 1.0, 2]),
        "weight": [0.5, 0.25, 0.75, 2],
    }
    (found,) = await metrics_of(alice, training)
    assert found.train == {"loss": wire.Spread(mean=7.0, minimum=4.0, maximum=8.0, clients=2)}


async def test_a_round_of_an_older_server_is_reckoned_from_its_reports(alice, bob, carol, make_training):
    training = await done_round(alice, bob, carol, make_training)
    kept = await metrics_of(alice, training)

    await call(lambda: Round.objects.filter(training=training.id).update(measured=None))

    assert await metrics_of(alice, training) == kept


async def test_what_is_kept_is_read_and_the_reports_are_not(alice, bob, carol, make_training):
    training = await done_round(alice, bob, carol, make_training)

    await call(lambda: Task.objects.filter(round__training=training.id).update(metrics={"loss": 99.0}))

    (found,) = await metrics_of(alice, training)
    assert found.train["loss"].mean == 7.0


async def test_the_headline_is_a_tested_accuracy_before_a_loss_and_before_what_was_seen_in_training(
    alice, bob, carol, make_training
):
    training = await done_round(alice, bob, carol, make_training)
    spread = [0.5, 0.5, 0.5, 1]

    async def headline(measured):
        await call(lambda: Round.objects.filter(training=training.id, number=1).update(measured=measured))
        return (await read(summaries.headlines, {training.id: (1, 1)})).get(training.id)

    told = await read(summaries.headlines, {training.id: (1, 1)})
    assert told == {training.id: summaries.Line("loss", [1], [7.0])}
    assert await read(summaries.headlines, {training.id: (1, 3)}) == {}, "two clients have measured it"
    assert await headline({"train": {}, "evaluate": {}}) is None
    both = {"train": {"accuracy": spread}, "evaluate": {"auc": spread, "loss_ce": spread}}
    assert await headline(both) == summaries.Line("loss_ce", [1], [0.5])
    both["evaluate"]["accuracy"] = spread
    assert await headline(both) == summaries.Line("accuracy", [1], [0.5])
    assert summaries.preference((TaskKind.EVALUATE.value, "x")) < summaries.preference(("train", "accuracy"))


async def test_a_long_training_has_a_short_headline_that_ends_with_its_last_round(alice, bob, carol, make_training):
    training = await done_round(alice, bob, carol, make_training)
    row = await read(Round.objects.get, training=training.id, number=1)

    def many():
        for number in range(2, 202):
            row.pk, row.id, row.number, row.version, row._state.adding = None, None, number, None, True
            row.id = Round._meta.pk.get_default()
            row.measured = {"train": {"loss": [float(number)] * 3 + [1]}, "evaluate": {}}
            row.save()

    await call(lambda: Round.objects.filter(training=training.id, number__gt=1).delete())
    await call(many)
    line = (await read(summaries.headlines, {training.id: (201, 1)}))[training.id]

    assert line.key == "loss"
    assert len(line.values) <= 60
    assert (line.rounds[-1], line.values[-1]) == (201, 201.0)


async def test_a_mean_of_two_is_told_to_neither_for_each_would_know_the_others_value(
    alice, bob, carol, root, make_training
):
    training = await done_round(alice, bob, carol, make_training)

    for steers in (alice, root):
        (seen,) = await metrics_of(steers, training)
        assert seen.train["loss"] == wire.Spread(mean=7.0, minimum=4.0, maximum=8.0, clients=2)
    for participant in (bob, carol):
        (seen,) = await metrics_of(participant, training)
        assert seen.train["loss"] == wire.Spread(mean=None, minimum=None, maximum=None, clients=2)


async def test_participants_are_told_means_of_three_and_their_own_value(alice, bob, carol, make_training):
    training = await done_round(alice, bob, carol, make_training)
    of_three = {"train": {"loss": [7.0, 4.0, 8.0, 3]}, "evaluate": {}}
    await call(lambda: Round.objects.filter(training=training.id, number=1).update(measured=of_three))

    (seen,) = await metrics_of(bob, training)
    assert seen.train["loss"] == wire.Spread(mean=7.0, minimum=None, maximum=None, clients=3)

    alone = {"train": {"loss": [8.0, 8.0, 8.0, 1]}, "evaluate": {}}
    await call(lambda: Round.objects.filter(training=training.id, number=1).update(measured=alone))
    await call(lambda: Task.objects.filter(participation__client=bob.user).update(metrics={}))
    assert [(await metrics_of(who, training))[0].train["loss"].mean for who in (alice, bob, carol)] == [8.0, None, 8.0]
