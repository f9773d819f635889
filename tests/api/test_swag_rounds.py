"""SWAG: once a version is made its clients send moments of the weights around it, which the server averages."""

import io

import numpy as np
import pytest
import torch
from safetensors.numpy import load
from torch import nn

from hansa.core.moments import FIRST, SECOND, unflatten
from hansa.formats.errors import BadModelFileError
from hansa.protocol.tasks import Task as TaskMessage
from hansa.server.blobs import services as blobs
from hansa.server.blobs import store
from hansa.server.lifecycle.bridge import call, read
from hansa.server.registry.models import Metric, Model, ModelVersion
from hansa.server.trainings import assignments, stepping
from hansa.server.trainings.models import Round, Task, Training, Update
from hansa.server.trainings.services import aggregation, rounds, trainings
from support.answers import nothing_changes, refused, shown
from support.federation import Worker, at_work, began, ended, moved_by, orchestrating, params_of
from support.moments import LENGTH, ORDER, moments, vectors
from support.work import (
    BUFFERS,
    INSTANCE,
    File,
    add_up,
    aggregated,
    file_of,
    lease,
    report_of,
    settle,
    start,
    store_model,
    update,
    upload,
    upload_and_report,
)

SWAG = {"uncertainty": {"method": "swag"}}


@pytest.fixture
async def asked(make_training, bob, carol):
    """A training of one round whose version is made; Bob and Carol are asked for moments around it."""
    return await aggregated(await call(lambda: start(make_training(bob, carol, **SWAG))), bob, carol)


@pytest.fixture
def five(person):
    """Five clients, in join order."""
    return [person(f"client-{number}", client=True) for number in range(5)]


async def send(client, file, examples=10):
    """Take the SWAG task and do it."""
    task = await call(lease, client)
    assert task.kind == "swag"
    await upload(client, task, file)
    answer = await report(client, task, file, examples)
    assert answer.status_code == 200, answer.text
    return task


async def report(client, task, file, examples=10, **metrics):
    body = {**report_of(file, examples), "metrics": metrics}
    return await client.post(f"/api/tasks/{task.id}/report/", json=body)


async def the_round(training, number=1):
    return await read(
        Round.objects.select_related("version").filter(training=training, number=number).latest, "attempt"
    )


async def moments_of(training, number=1):
    """The moments of a version, or None."""
    version = await read(ModelVersion.objects.get, model_id=training.model_id, number=number)
    return None if version.moments_id is None else load(store.path_of(version.moments_id).read_bytes())


# What is asked


async def test_after_the_aggregation_clients_are_asked_for_moments_around_the_new_version(bob, asked):
    task = shown(await bob.post("/api/tasks/next/", json={"instance": INSTANCE}), TaskMessage)

    version = await read(ModelVersion.objects.select_related("blob").get, model_id=asked.model_id, number=1)
    assert (task.kind, task.round, task.version) == ("swag", 1, 1)
    assert (task.digest, task.size) == (version.blob_id, version.blob.size)
    assert task.params == f"/api/models/{asked.model_id}/versions/1/params/"
    assert task.order == ORDER
    assert task.protocol == 2, "clients of before do not know this kind of task"
    assert (await bob.get(f"/api/tasks/{task.id}/base/")).content == (await bob.get(task.params)).content


async def test_only_those_who_reported_are_asked(bob, carol, make_training, clock):
    training = await call(lambda: start(make_training(bob, carol, **SWAG, closing={"quorum": 1})))
    await upload_and_report(bob, await call(lease, bob), update())
    await call(settle, training)
    await call(add_up, training)

    asked = await read(lambda: list(Task.objects.filter(kind="swag").values_list("participation__client", flat=True)))
    assert asked == [bob.user.id]


async def test_a_plan_that_does_not_want_moments_asks_for_none(bob, carol, make_training):
    training = await call(lambda: start(make_training(bob, carol, uncertainty={"method": "mc_dropout"})))
    await aggregated(training, bob, carol)

    assert (await the_round(training)).state == "done"
    assert not await read(Task.objects.filter(kind="swag").exists)


# What comes of it


async def test_the_moments_of_a_version_are_the_means_of_what_its_clients_sent(bob, carol, asked):
    await send(bob, moments(1.0, 0.5), examples=10)
    await send(carol, moments(3.0, 0.25), examples=30)
    await call(settle, asked)
    assert (await the_round(asked)).state == "combining"
    await call(add_up, asked)

    sent = [(10, load(moments(1.0, 0.5).content)), (30, load(moments(3.0, 0.25).content))]
    made = await moments_of(asked)
    for name in (FIRST, SECOND):
        assert made[name].tolist() == (sum(weight * file[name] for weight, file in sent) / 40).tolist()
    assert made[FIRST].dtype == np.float64


async def test_with_equal_weighting_every_client_counts_the_same(bob, carol, make_training):
    equal = {"kind": "weighted_mean", "weighting": "equal"}
    training = await call(lambda: start(make_training(bob, carol, **SWAG, aggregator=equal)))
    await aggregated(training, bob, carol)
    await send(bob, moments(1.0), examples=10)
    await send(carol, moments(3.0), examples=30)
    await call(settle, training)
    await call(add_up, training)

    assert (await moments_of(training))[FIRST][0] == 2.0


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [4, 2, 0, 3, 1], [3, 4, 1, 2, 0]])
async def test_the_moments_have_the_bits_of_a_slow_loop_in_canonical_order_whoever_came_first(
    five, make_training, order
):
    """Float64 vectors with exponents from -20 to 20 and unequal weights: in another order the bits are others."""
    training = await call(lambda: start(make_training(*five, **SWAG)))
    await aggregated(training, *five)
    files, weights = [random_moments(seed) for seed in range(5)], [3, 1_000_003, 77, 5, 12_345]
    for place in order:
        await send(five[place], files[place], weights[place])
    await call(settle, training)
    await call(add_up, training)

    made = await moments_of(training)
    loaded = [load(file.content) for file in files]
    for name in (FIRST, SECOND):
        assert made[name].tobytes() == slow_mean([file[name] for file in loaded], weights).tobytes()
    backwards = slow_mean([file[FIRST] for file in loaded[::-1]], weights[::-1])
    assert made[FIRST].tobytes() != backwards.tobytes(), "a test that cannot tell the order proves nothing"


def random_moments(seed):
    rng = np.random.default_rng(seed)
    first = np.ldexp(rng.uniform(-1, 1, LENGTH), rng.integers(-20, 21, LENGTH))
    return vectors(first, first**2 + np.square(np.ldexp(rng.uniform(0, 1, LENGTH), rng.integers(-20, 21, LENGTH))))


def slow_mean(values, weights):
    out = []
    for element in range(LENGTH):
        total = float(weights[0]) * float(values[0][element])
        for value, weight in zip(values[1:], weights[1:], strict=True):
            total += float(weight) * float(value[element])
        out.append(total / float(sum(weights)))
    return np.array(out)


async def test_the_round_goes_on_to_its_evaluation_and_then_the_next_begins(alice, bob, carol, make_training):
    training = await call(lambda: make_training(bob, carol, rounds=2, **SWAG, evaluation={"every": 1}))
    workers = [SwagWorker(client, lambda params, task: params, buffers=BUFFERS) for client in (bob, carol)]
    async with orchestrating(), at_work(*workers):
        await began(alice, training)
        record = await ended(alice, training)

    assert (record["status"], record["version"]) == ("completed", 2)
    for worker in workers:
        kinds = [(task["round"], task["kind"], task["version"]) for task in worker.done]
        assert kinds == [
            (1, "train", 0),
            (1, "swag", 1),
            (1, "evaluate", 1),
            (2, "train", 1),
            (2, "swag", 2),
            (2, "evaluate", 2),
        ]
    for number in (1, 2):
        assert (await moments_of(training, number))[FIRST].shape == (LENGTH,)
        done = await the_round(training, number)
        assert done.aggregated_at <= done.combined_at <= done.done_at
        assert done.reason == "2 of 2 clients have evaluated the version"


async def test_moments_are_of_what_the_server_s_step_has_made_and_do_not_disturb_what_it_remembers(
    alice, bob, carol, make_training
):
    step = {"kind": "momentum", "server_lr": 0.5, "momentum": 0.5}
    training = await call(lambda: make_training(bob, carol, rounds=2, **SWAG, server_step=step))
    workers = [SwagWorker(client, moved_by(2.0), buffers=BUFFERS) for client in (bob, carol)]
    async with orchestrating(), at_work(*workers):
        await began(alice, training)
        record = await ended(alice, training)

    assert (record["status"], record["version"]) == ("completed", 2), record["reason"]
    bias = [(await params_of(alice, record, number))["fc.bias"].tolist() for number in (1, 2)]
    assert bias == [[1.0] * 3, [2.5] * 3]  # of 2: half; then of 2, and half of the 2 before
    for worker in workers:
        asked = [(task["kind"], task["version"], task["digest"]) for task in worker.done if task["kind"] == "swag"]
        assert asked == [("swag", version["number"], version["digest"]) for version in await made_by(training)]
    assert [(await moments_of(training, number))[FIRST].shape for number in (1, 2)] == [(LENGTH,)] * 2


async def made_by(training):
    rows = ModelVersion.objects.filter(model_id=training.model_id, number__gt=0).order_by("number")
    return await read(lambda: [{"number": row.number, "digest": row.blob_id} for row in rows])


class SwagWorker(Worker):
    """A client's program that has moments to send as well."""

    async def do(self, task):
        if task["kind"] != "swag":
            return await super().do(task)
        await self.person.put(f"/api/tasks/{task['id']}/update/{moments().digest}/", content=moments().content)
        body = {**report_of(moments()), "metrics": {}}
        receipt = await self.person.post(f"/api/tasks/{task['id']}/report/", json=body)
        assert receipt.status_code == 200, receipt.text
        self.done.append(task)
        return None


# Moments are not metrics, and not local models


async def test_moments_are_not_metrics(bob, carol, asked):
    before = await read(Metric.objects.count)
    await send(bob, moments())
    assert await read(Metric.objects.count) == before

    task = await call(lease, carol)
    await upload(carol, task, moments(2.0))
    async with nothing_changes():
        refused(await report(carol, task, moments(2.0), loss=1.0), 422, "invalid", "Moments come without metrics")


async def test_moments_are_noted_like_an_update_of_the_version(bob, asked):
    task = await send(bob, moments(1.0, spread=0.5), examples=7)

    row = await read(Update.objects.select_related("base").get, task=task)
    assert (row.base.number, row.num_examples, row.digest) == (1, 7, moments(1.0, 0.5).digest)
    assert row.norm == pytest.approx(np.sqrt(LENGTH * 0.25)), "the root of the summed variances"


async def test_each_phase_shows_its_own_shares(alice, bob, carol, asked):
    await send(bob, moments(), examples=10)
    await send(carol, moments(), examples=30)
    await call(settle, asked)

    shown_round = (await alice.get(f"/api/trainings/{asked.id}/rounds/1/")).json()
    weights = [(task["kind"], task["username"], task["weight"]) for task in shown_round["tasks"]]
    assert sorted(weights) == [
        ("swag", "bob", 0.25),
        ("swag", "carol", 0.75),
        ("train", "bob", 0.5),
        ("train", "carol", 0.5),
    ]


# What is refused


@pytest.mark.parametrize(
    ("file", "code", "words"),
    [
        (moments(length=8), "spec_mismatch", "shape (8,) for 'first_moment'"),
        (vectors(np.ones(9, np.float32), np.ones(9)), "spec_mismatch", "dtype float32 for 'first_moment'"),
        (update(), "spec_mismatch", "lacks 'first_moment', 'second_moment'"),
        (vectors(np.zeros(9), np.array([0.0] * 8 + [-1e-9])), "bad_model_file", "index 8, the second moment is -1e-09"),
        (vectors(np.full(9, 2.0), np.full(9, 3.9)), "bad_model_file", "at least the square of the mean"),
        (vectors(np.full(9, 2.0), np.full(9, np.inf)), "not_finite", "'second_moment' holds inf at flat index 0"),
        (vectors(np.array([np.nan] * 9), np.ones(9)), "not_finite", "'first_moment' holds nan"),
    ],
)
async def test_vectors_that_are_no_moments_are_refused_with_the_reason(bob, asked, file, code, words):
    task = await call(lease, bob)
    async with nothing_changes():
        answer = await bob.put(f"/api/tasks/{task.id}/update/{file.digest}/", content=file.content)
        refused(answer, 422, code, words)


async def test_what_rounding_has_done_to_moments_is_no_fault(bob, asked):
    first = np.float32([0, 1e-30, 1, -3, 1e10, 7, 0.1, 1e-3, 5]).astype(np.float64)
    second = np.square(first.astype(np.float32)).astype(np.float64) * (1 - 1e-6)
    await send(bob, vectors(first, second))


async def test_more_than_moments_can_be_is_refused_before_it_is_read(bob, asked):
    task = await call(lease, bob)
    headers = {"Upload-Length": str(10**6), "Upload-Offset": "0"}
    answer = await bob.put(f"/api/tasks/{task.id}/update/{moments().digest}/", content=b"x", headers=headers)
    refused(answer, 413, "too_large", "the task wants has 144")


async def test_the_same_report_again_is_the_same_and_another_a_conflict(bob, asked):
    task = await send(bob, moments())

    assert (await report(bob, task, moments())).status_code == 200
    refused(await report(bob, task, moments(2.0)), 409, "digest_conflict", "The first report counts")
    assert await read(Update.objects.filter(task=task).count) == 1


async def test_late_moments_are_told_that_the_round_went_on(bob, carol, asked, clock):
    late = await call(lease, carol)
    await upload(carol, late, moments())
    await send(bob, moments())
    clock.advance(61)
    await call(settle, asked)
    await call(add_up, asked)

    refused(await report(carol, late, moments()), 409, "round_closed")
    refused(await carol.get(f"/api/tasks/{late.id}/base/"), 409, "round_closed")


async def test_a_heartbeat_keeps_a_client_that_gathers_moments_alive(bob, carol, asked, clock):
    task = await call(lease, bob)
    await send(carol, moments())
    for _ in range(5):
        clock.advance(50)
        assert (await bob.post(f"/api/tasks/{task.id}/heartbeat/")).json()["proceed"] is True
        await call(settle, asked)
    assert (await the_round(asked)).state == "swag"


# Who does not send any


async def test_a_client_that_cannot_send_moments_is_left_out(bob, carol, asked):
    await give_up(bob)
    await send(carol, moments(4.0))
    await call(settle, asked)
    await call(add_up, asked)

    assert (await moments_of(asked))[FIRST][0] == 4.0
    assert (await read(Training.objects.get, id=asked.id)).status == "completed"


async def give_up(client, reason="this trainer has no 'moments'"):
    task = await call(lease, client)
    answer = await client.post(f"/api/tasks/{task.id}/release/", json={"reason": reason, "failed": True})
    assert answer.status_code == 204


async def test_where_no_client_can_the_version_has_none_and_the_round_says_why(alice, bob, carol, asked):
    await give_up(bob)
    await give_up(carol)
    await call(settle, asked)

    done = await the_round(asked)
    assert done.state == "done"
    assert done.reason.endswith(
        "the version has no moments: none of the clients asked could send any: bob failed, carol failed"
    )
    assert await moments_of(asked) is None
    assert (await alice.get(f"/api/trainings/{asked.id}/")).json()["status"] == "completed"


async def test_nobody_is_waited_for_in_vain(bob, carol, asked, clock):
    clock.advance(61)
    await call(settle, asked)

    done = await the_round(asked)
    assert (done.state, done.moments_reason) == (
        "done",
        "none of the clients asked could send any: bob was lost, carol was lost",
    )


async def test_clients_that_leave_are_not_waited_for(alice, bob, carol, asked):
    await send(bob, moments(5.0))
    await call(trainings.remove_clients, training_id=asked.id, clients=[carol.user])
    await call(settle, asked)
    await call(add_up, asked)

    assert (await moments_of(asked))[FIRST][0] == 5.0


# Troubles of the server


async def test_moments_that_cannot_be_averaged_cost_the_version_its_moments_and_nothing_else(
    alice, bob, carol, asked, monkeypatch
):
    def refuse(*_arguments):
        raise BadModelFileError("these are no moments")

    monkeypatch.setattr(stepping, "aggregate", refuse)
    await send(bob, moments(1.0))
    await send(carol, moments(2.0))
    async with orchestrating():
        record = await ended(alice, asked)

    assert record["status"] == "completed"
    done = await the_round(asked)
    assert "the version has no moments: The aggregation failed: these are no moments" in done.reason
    assert (done.version.number, done.attempt, done.version.moments_id) == (1, 1, None)


async def test_after_a_restart_the_claim_of_one_who_averaged_moments_is_free(bob, carol, asked, clock):
    await send(bob, moments(1.0))
    await send(carol, moments(2.0))
    await call(settle, asked)
    assert await call(aggregation.claim, training_id=asked.id, now=clock.now)
    assert await call(aggregation.claim, training_id=asked.id, now=clock.now) is None

    assert await call(aggregation.drop_claims) == 1
    await call(add_up, asked)

    assert (await the_round(asked)).state == "done"
    assert await moments_of(asked)


async def test_a_training_that_is_cancelled_meanwhile_keeps_its_version(bob, carol, asked, clock):
    await send(bob, moments())
    await call(trainings.cancel, training_id=asked.id, now=clock.now)

    cancelled = await the_round(asked)
    assert (cancelled.state, cancelled.version.number) == ("done", 1)
    assert (await read(Training.objects.get, id=asked.id)).rounds_done == 1


async def test_giving_up_twice_is_giving_up_once(bob, carol, asked, clock):
    await send(bob, moments())
    await send(carol, moments())
    await call(settle, asked)
    claim = (await call(aggregation.claim, training_id=asked.id, now=clock.now)).claim
    assert await call(rounds.give_up, training_id=asked.id, claim=claim, reason="torn", now=clock.now)
    assert not await call(rounds.give_up, training_id=asked.id, claim=claim, reason="torn again", now=clock.now)

    assert (await the_round(asked)).moments_reason == "torn"


async def test_what_the_clients_sent_is_let_go_with_their_round_and_the_versions_moments_stay(bob, carol, asked, clock):
    await send(bob, moments(1.0))
    await send(carol, moments(2.0))
    await call(settle, asked)
    await call(add_up, asked)
    clock.advance(3600)
    await blobs.collect(before=clock.now)

    assert not store.path_of(moments(1.0).digest).exists()
    assert not store.path_of(moments(2.0).digest).exists()
    assert (await moments_of(asked))[FIRST].shape == (LENGTH,)


async def test_moments_on_their_way_are_kept_as_any_upload(bob, asked, clock):
    task = await call(lease, bob)
    await bob.put(
        f"/api/tasks/{task.id}/update/{moments().digest}/",
        content=moments().content[:100],
        headers={"Upload-Length": str(len(moments()))},
    )

    assert task.id in await read(assignments.open_uploads)


async def test_a_model_with_params_of_every_dtype_has_float64_moments(alice, bob, carol, make_training, tmp_path):
    params = {
        "half": np.ones(2, np.float16),
        "double": np.ones((2, 2), np.float64),
        "count": np.int64(3).reshape(()),
        "mean": np.ones(4, np.float32),
    }
    model = await call(lambda: store_model(alice, params, frozenset({"mean"}), tmp_path))
    training = await call(lambda: start(make_training(bob, model=model, **SWAG)))
    file = file_of(params, frozenset({"mean"}))
    await upload_and_report(bob, await call(lease, bob), file)
    await call(settle, training)
    await call(add_up, training)

    task = shown(await bob.post("/api/tasks/next/", json={"instance": INSTANCE}), TaskMessage)
    assert task.order == ["count", "double", "half"]
    seven = vectors(np.ones(7), np.full(7, 2.0))
    assert (await bob.put(f"/api/tasks/{task.id}/update/{seven.digest}/", content=seven.content)).status_code == 200


class Tied(nn.Module):
    """Params in another order than that of their names, one of them under two names, a buffer, a frozen param."""

    def __init__(self):
        super().__init__()
        self.zulu = nn.Linear(3, 2)
        self.norm = nn.BatchNorm1d(2)
        self.alpha = nn.Linear(3, 2)
        self.alpha.weight = self.zulu.weight
        self.scale = nn.Parameter(torch.ones(()), requires_grad=False)


async def test_moments_of_a_torch_model_stand_in_the_order_of_its_parameters(alice, bob, make_training):
    module, stream = Tied(), io.BytesIO()
    torch.save(module, stream)
    answer = await alice.post("/api/models/", data={"name": "tied"}, files={"model_file": stream.getvalue()})
    assert answer.status_code == 201, answer.text
    model = await read(Model.objects.get, id=answer.json()["model_id"])
    training = await call(lambda: start(make_training(bob, model=model, **SWAG)))
    task = (await bob.post("/api/tasks/next/", json={"instance": INSTANCE})).json()
    version = File((await bob.get(task["params"])).content)
    await upload_and_report(bob, task["id"], version)
    await call(settle, training)
    await call(add_up, training)

    asked = (await bob.post("/api/tasks/next/", json={"instance": INSTANCE})).json()

    named = dict(module.named_parameters())
    assert asked["order"] == list(named)
    vector = torch.cat([param.detach().reshape(-1) for param in module.parameters()]).double().numpy()
    sent = vectors(vector, vector**2 + 1)
    assert (await bob.put(f"/api/tasks/{asked['id']}/update/{sent.digest}/", content=sent.content)).status_code == 200
    assert (await report(bob, Task(id=asked["id"]), sent)).status_code == 200
    await call(settle, training)
    await call(add_up, training)

    by_name = unflatten((await moments_of(training))[FIRST], model.param_spec, asked["order"])
    assert by_name.keys() == named.keys()
    for name, param in named.items():
        np.testing.assert_array_equal(by_name[name], param.detach().double().numpy())
