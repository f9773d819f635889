"""Daisy chaining: between aggregations local models travel from client to client (Kamp et al. 2023)."""

import numpy as np
import pytest
from safetensors.numpy import load

from hansa.core.relay import deal
from hansa.core.seeds import client_seed, relay_rng
from hansa.protocol.tasks import Task as TaskMessage
from hansa.server.blobs import services as blobs
from hansa.server.blobs import store
from hansa.server.lifecycle.bridge import call, read
from hansa.server.registry.models import Metric, ModelVersion
from hansa.server.trainings.models import Participation, Round, Task, Training, Update
from hansa.server.trainings.services import aggregation, rounds, trainings
from support.answers import refused, shown
from support.federation import Worker, at_work, ended, orchestrating, params_of
from support.work import (
    BUFFERS,
    INSTANCE,
    File,
    add_up,
    file_of,
    lease,
    report_of,
    settle,
    small_params,
    start,
    update,
    upload_and_report,
)

SEED = 7
"""Of all trainings here, so that their deals can be foretold."""


@pytest.fixture
def four(person):
    """Four clients, in join order."""
    return [person(f"client-{number}", client=True) for number in range(4)]


@pytest.fixture
def chain(make_training, four):
    """Start a training of the four clients: `chain(period=2, rounds=4)`."""

    def make(*, period: int = 2, rounds: int = 2, clients=four, **plan) -> Training:
        return start(make_training(*clients, rounds=rounds, daisy_chain={"period": period}, **plan))

    return make


async def take(client) -> TaskMessage:
    return shown(await client.post("/api/tasks/next/", json={"instance": INSTANCE}), TaskMessage)


async def base_of(client, task: TaskMessage) -> bytes:
    answer = await client.get(task.params)
    assert answer.status_code == 200, answer.text
    return answer.content


async def do_round(training, clients, files: list[File]) -> None:
    """Every client trains: the n-th sends the n-th file."""
    for client, file in zip(clients, files, strict=True):
        await upload_and_report(client, (await take(client)).id, file)
    await call(settle, training)


def files_of(number: int, count: int = 4) -> list[File]:
    return [update(10.0 * number + place) for place in range(count)]


async def the_round(training, number):
    return await read(Round.objects.filter(training=training, number=number).latest, "attempt")


async def sources(training, number):
    """By ordinal, whose local model of the round before a client goes on from."""
    tasks = Task.objects.filter(round__training=training, round__number=number, kind="train", source__isnull=False)
    rows = tasks.order_by("round__attempt").values_list(
        "participation__ordinal", "source__task__participation__ordinal"
    )
    return await read(lambda: dict(rows))


# How models travel


async def test_a_round_within_the_period_makes_no_version_and_hands_its_models_on(alice, four, chain):
    training = await call(chain)
    await do_round(training, four, files_of(1))

    relayed = await the_round(training, 1)
    assert (relayed.state, relayed.version_id, relayed.aggregated_at) == ("done", None, None)
    assert relayed.reason == "4 of 4 clients have reported; their models travel on"
    assert [row[:2] for row in relayed.accepted] == [[place, file.digest] for place, file in enumerate(files_of(1))]
    record = (await alice.get(f"/api/trainings/{training.id}/")).json()
    assert (record["version"], record["rounds_done"], record["round"]) == (0, 1, 2)


async def test_every_model_goes_to_exactly_one_client_as_the_seed_says(four, chain):
    training = await call(chain)
    await do_round(training, four, files_of(1))

    dealt = deal(range(4), range(4), [], relay_rng(SEED, 2))
    assert await sources(training, 2) == dealt
    assert sorted(dealt.values()) == [0, 1, 2, 3]
    for ordinal, client in enumerate(four):
        task = await take(client)
        given = files_of(1)[dealt[ordinal]]
        assert (task.digest, task.size) == (given.digest, len(given))
        assert await base_of(client, task) == given.content
        assert (task.params, task.version, task.protocol) == (f"/api/tasks/{task.id}/base/", 0, 2)


async def test_the_first_round_begins_from_the_version_and_so_does_the_one_after_an_aggregation(four, chain):
    training = await call(lambda: chain(rounds=4))
    for number in (1, 2):
        if number == 1:
            assert await sources(training, 1) == {}
        await do_round(training, four, files_of(number))
    await call(add_up, training)

    assert await sources(training, 3) == {}
    task = await take(four[0])
    assert (task.round, task.version, task.protocol) == (3, 1, 1)
    assert task.params == f"/api/models/{training.model_id}/versions/1/params/"


async def test_at_the_end_of_the_period_the_models_that_came_are_averaged(alice, four, chain):
    training = await call(chain)
    for number in (1, 2):
        await do_round(training, four, files_of(number))
    await call(add_up, training)

    record = (await alice.get(f"/api/trainings/{training.id}/")).json()
    assert (record["status"], record["version"]) == ("completed", 1)
    made = await params_of(alice, record, 1)
    assert made["fc.bias"].tolist() == [21.5] * 3, "the mean of 20, 21, 22 and 23: of the last round, not of the first"


async def test_an_updates_norm_is_the_way_it_went_from_where_it_began(four, chain):
    training = await call(chain)
    await do_round(training, four, files_of(1))
    dealt = await sources(training, 2)
    await do_round(training, four, files_of(2))

    norms = await read(
        lambda: dict(Update.objects.filter(task__round__number=2).values_list("task__participation__ordinal", "norm"))
    )
    for ordinal in range(4):
        step = (20 + ordinal) - (10 + dealt[ordinal])
        assert norms[ordinal] == pytest.approx(abs(step) * 3.0), "nine params, each moved by the step"


async def test_metrics_are_noted_at_the_number_of_their_round(bob, chain):
    training = await call(lambda: chain(clients=[bob], rounds=4))
    for number in (1, 2, 3):
        task = await take(bob)
        await bob.put(f"/api/tasks/{task.id}/update/{update(number).digest}/", content=update(number).content)
        await bob.post(f"/api/tasks/{task.id}/report/", json=report_of(update(number), 10, {"loss": 1.0 / number}))
        await call(settle, training)
        if number == 2:
            await call(add_up, training)

    steps = await read(lambda: list(Metric.objects.order_by("step").values_list("step", "value")))
    assert steps == [(1, 1.0), (2, 0.5), (3, pytest.approx(1 / 3))]


@pytest.mark.parametrize("period", [2, 3])
async def test_the_versions_are_those_of_a_slow_loop_whoever_came_first(alice, four, chain, period):
    """Kamp et al. 2023, algorithm 1, as a loop over plain arrays; the clients work side by side, in any order."""
    training = await call(lambda: chain(period=period, rounds=2 * period))
    examples = [3, 1003, 77, 12]
    workers = [
        ChainWorker(client, trained, examples=examples[place], buffers=BUFFERS) for place, client in enumerate(four)
    ]
    async with orchestrating(), at_work(*workers):
        record = await ended(alice, training)

    expected = slow_chain(small_params(), examples, period=period, rounds=2 * period)
    for number, params in enumerate(expected, start=1):
        made = await params_of(alice, record, number)
        assert {name: array.tobytes() for name, array in made.items()} == {
            name: array.tobytes() for name, array in params.items()
        }


class ChainWorker(Worker):
    """A client's program that begins from where its task says."""

    async def _trained(self, task):
        params = await self.person.get(task["params"])
        return file_of(self._train(load(params.content), task), self._buffers)


def trained(params, task):
    """A step that depends on where it began, who took it and when."""
    rng = np.random.default_rng(task["seed"])
    return {
        name: (array * np.float32(0.5) + np.ldexp(rng.uniform(-1, 1, array.shape), task["ordinal"])).astype(array.dtype)
        for name, array in sorted(params.items())
    }


def slow_chain(params, examples, *, period, rounds):
    """All versions of a daisy-chained training of these clients, computed one number at a time."""
    count = len(examples)
    models, versions = [params] * count, []
    for number in range(1, rounds + 1):
        models = [
            trained(models[ordinal], {"seed": client_seed(SEED, number, ordinal), "ordinal": ordinal})
            for ordinal in range(count)
        ]
        if number % period:
            dealt = deal(range(count), range(count), [], relay_rng(SEED, number + 1))
            models = [models[dealt[ordinal]] for ordinal in range(count)]
            continue
        params = {name: slow_mean([model[name] for model in models], examples) for name in params}
        versions.append(params)
        models = [params] * count
    return versions


def slow_mean(values, weights):
    total = values[0].astype(np.float64) * float(weights[0])
    for value, weight in zip(values[1:], weights[1:], strict=True):
        total = total + value.astype(np.float64) * float(weight)
    return (total / float(sum(weights))).astype(values[0].dtype)


# Who comes, and who does not


async def test_who_lost_its_round_begins_from_the_version_if_no_model_is_left(four, chain, clock):
    training = await call(lambda: chain(closing={"min_reports": 1}))
    bob, carol, *_ = four
    for client in four:
        await call(lease, client)
    await upload_and_report(bob, (await take(bob)).id, files_of(1)[0])
    clock.advance(61)
    await call(settle, training)
    for ordinal in (1, 2, 3):  # they were lost, and come back
        await call(lambda ordinal=ordinal: Participation.objects.filter(ordinal=ordinal).update(absent=False))

    dealt = await sources(training, 2)
    assert dealt == {0: 0}, "one model, for the only client that is waited for"
    task = await take(carol)
    assert task.params == f"/api/models/{training.model_id}/versions/0/params/"


async def test_a_model_whose_client_is_gone_goes_to_one_that_is_free(four, chain):
    training = await call(chain)
    await do_round_without_settling(four, files_of(1))
    await call(trainings.remove_clients, training_id=training.id, clients=[four[0].user])
    await call(settle, training)

    dealt = await sources(training, 2)
    assert set(dealt) == {1, 2, 3}
    assert len(set(dealt.values())) == 3, "four models for three clients: one ends its way here"


async def do_round_without_settling(clients, files):
    for client, file in zip(clients, files, strict=True):
        await upload_and_report(client, (await take(client)).id, file)


async def test_a_client_that_joins_begins_from_the_version(alice, person, four, chain):
    training = await call(chain)
    await do_round_without_settling(four, files_of(1))
    eve = await call(lambda: person("eve", client=True))
    await call(trainings.add_clients, training_id=training.id, clients=[eve.user])
    await call(settle, training)

    dealt = await sources(training, 2)
    assert sorted(dealt.values()) == [0, 1, 2, 3], "every model goes on"
    left_out = next(iter({0, 1, 2, 3, 4} - set(dealt)))
    client = [*four, eve][left_out]
    assert (await take(client)).digest == (
        await read(ModelVersion.objects.get, model_id=training.model_id, number=0)
    ).blob_id


async def test_who_is_not_waited_for_is_dealt_what_the_others_leave(four, chain):
    training = await call(chain)
    await do_round_without_settling(four, files_of(1))
    await call(lambda: Participation.objects.filter(ordinal__in=(1, 3)).update(absent=True))
    await call(settle, training)

    dealt = await sources(training, 2)
    assert sorted(dealt) == [0, 1, 2, 3]
    assert dealt == deal(range(4), [0, 2], [1, 3], relay_rng(SEED, 2))


async def test_a_smaller_cohort_is_dealt_the_models_of_the_one_before(four, chain):
    training = await call(lambda: chain(cohort={"size": 2}))
    cohort = await read(lambda: list(Task.objects.values_list("participation__ordinal", flat=True)))
    for ordinal in cohort:
        await upload_and_report(four[ordinal], (await take(four[ordinal])).id, files_of(1)[ordinal])
    await call(settle, training)

    second = await read(
        lambda: list(Task.objects.filter(round__number=2).values_list("participation__ordinal", flat=True))
    )
    assert await sources(training, 2) == deal(sorted(cohort), sorted(second), [], relay_rng(SEED, 2))


async def test_an_attempt_that_was_abandoned_is_dealt_the_same_models_again(four, chain, clock):
    training = await call(chain)
    await do_round(training, four, files_of(1))
    before = await sources(training, 2)
    await upload_and_report(four[0], (await take(four[0])).id, files_of(2)[0])
    await call(rounds.abandon, training_id=training.id, reason="nobody came.", now=clock.now)
    clock.advance(3600)
    await call(settle, training)
    await blobs.collect(before=clock.now)

    assert (await the_round(training, 2)).attempt == 2
    assert await sources(training, 2) == before
    for client in four:
        task = await take(client)
        assert load(await base_of(client, task)).keys() == small_params().keys()
    assert await kept(training) == {1}, "what came in vain is let go, what is needed again stays"


# What is kept


async def kept(training):
    """The rounds whose local models are still there."""
    rows = Update.objects.filter(task__round__training=training, blob__isnull=False)
    return set(await read(lambda: list(rows.values_list("task__round__number", flat=True))))


async def test_local_models_are_kept_until_the_round_that_goes_on_from_them_is_done(four, chain, clock):
    training = await call(lambda: chain(period=3, rounds=6))
    after = []
    for number in range(1, 6):
        await do_round(training, four, files_of(number))
        if number == 3:
            await call(add_up, training)
        after.append(await kept(training))
    assert after == [{1}, {2}, set(), {4}, {5}]

    clock.advance(3600)
    await blobs.collect(before=clock.now)
    assert [store.path_of(files_of(number)[0].digest).exists() for number in range(1, 6)] == [False] * 4 + [True]


async def test_while_a_round_is_aggregated_the_models_it_began_from_are_there_for_another_attempt(four, chain):
    training = await call(chain)
    for number in (1, 2):
        await do_round(training, four, files_of(number))
    assert (await the_round(training, 2)).state == "aggregating"
    assert await kept(training) == {1, 2}

    now = (await the_round(training, 2)).closed_at
    claim = (await call(aggregation.claim, training_id=training.id, now=now)).claim
    await call(rounds.give_up, training_id=training.id, claim=claim, reason="torn", now=now)
    assert await kept(training) == {1}


@pytest.mark.parametrize(("keep", "after"), [(1, {1, 2}), (2, {1, 2})])
async def test_keep_updates_keeps_them_longer(four, chain, keep, after):
    training = await call(lambda: chain(period=2, rounds=4, keep_updates=keep))
    for number in (1, 2):
        await do_round(training, four, files_of(number))
    await call(add_up, training)

    assert await kept(training) == ({2} if keep == 1 else after)


async def test_when_the_training_is_cancelled_no_model_travels_on(four, chain, clock):
    training = await call(chain)
    await do_round(training, four, files_of(1))
    assert await kept(training) == {1}

    await call(trainings.cancel, training_id=training.id, now=clock.now)

    assert await kept(training) == set()


async def test_an_error_in_the_middle_of_a_chain_can_be_mended(four, chain, clock):
    training = await call(chain)
    await do_round(training, four, files_of(1))
    dealt = await sources(training, 2)
    for _ in range(3):
        await call(rounds.abandon, training_id=training.id, reason="it rained.", now=clock.now)
        await call(settle, training)
    assert (await read(Training.objects.get, id=training.id)).status == "error"
    clock.advance(3600)
    await blobs.collect(before=clock.now)

    await call(trainings.resume, training_id=training.id, now=clock.now)
    await call(settle, training)

    assert await sources(training, 2) == dealt
    task = await take(four[0])
    assert await base_of(four[0], task) == files_of(1)[dealt[0]].content


# GET /api/tasks/<id>/base/


async def test_what_a_task_begins_from_is_for_its_client_alone(alice, root, four, chain):
    training = await call(chain)
    await do_round(training, four, files_of(1))
    task = await take(four[0])

    for person in (alice, root, four[1]):
        refused(await person.get(task.params), 404, "not_found", "not yours")


async def test_it_is_there_while_its_task_is_open(four, chain, clock):
    training = await call(chain)
    await do_round(training, four, files_of(1))
    offered = await read(Task.objects.filter(round__number=2).earliest, "participation__ordinal")
    refused(await four[0].get(f"/api/tasks/{offered.id}/base/"), 409, "wrong_state", "was not leased")

    task = await take(four[0])
    assert (await four[0].get(task.params)).status_code == 200
    await upload_and_report(four[0], task.id, files_of(2)[0])
    refused(await four[0].get(task.params), 409, "task_closed", "reported")


async def test_it_is_served_like_a_version(four, chain):
    training = await call(chain)
    await do_round(training, four, files_of(1))
    task = await take(four[0])
    whole = await four[0].get(task.params)

    assert whole.headers["ETag"] == f'"{task.digest}"'
    part = await four[0].get(task.params, headers={"Range": "bytes=10-19", "If-Range": whole.headers["ETag"]})
    assert (part.status_code, part.content) == (206, whole.content[10:20])
    assert (await four[0].get(task.params, headers={"If-None-Match": whole.headers["ETag"]})).status_code == 304
    head = await four[0].head(task.params)
    assert (head.status_code, head.headers["Content-Length"], head.content) == (200, str(len(whole.content)), b"")


# Evaluations


async def test_clients_evaluate_after_each_aggregation_and_not_in_between(alice, bob, carol, chain):
    training = await call(lambda: chain(clients=[bob, carol], rounds=4, evaluation={"every": 1}))
    workers = [ChainWorker(client, trained, buffers=BUFFERS) for client in (bob, carol)]
    async with orchestrating(), at_work(*workers):
        await ended(alice, training)

    for worker in workers:
        assert [(task["round"], task["kind"], task["version"]) for task in worker.done] == [
            (1, "train", 0),
            (2, "train", 0),
            (2, "evaluate", 1),
            (3, "train", 1),
            (4, "train", 1),
            (4, "evaluate", 2),
        ]
