"""What the server itself may meet in the middle of a training: lost hints, restarts, damaged files, a full disk."""

import asyncio

import numpy as np
import pytest
from django.db import OperationalError

from hansa.server.blobs import store
from hansa.server.lifecycle.bridge import call, read
from hansa.server.trainings import orchestrator, stepping
from hansa.server.trainings.aggregation import aggregate
from hansa.server.trainings.hints import HINTS
from hansa.server.trainings.models import Task
from hansa.server.trainings.services import aggregation, rounds, trainings
from support.federation import began, ended, orchestrating, params_of, rounds_of, take, until
from support.work import file_of, lease, settle, start, store_model, update, upload_and_report

pytestmark = pytest.mark.usefixtures("soon")


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


async def test_what_is_computed_for_a_round_that_has_gone_on_leaves_no_file(bob, carol, make_training, home, clock):
    training = await call(lambda: start(make_training(bob, carol)))
    for client, add in ((bob, 1.0), (carol, 2.0)):
        await upload_and_report(client, await call(lease, client), update(add))
    await call(settle, training)
    job = await call(aggregation.claim, training_id=training.id, now=clock.now)
    before = {path.name for path in store.files()}
    await call(trainings.cancel, training_id=training.id, now=clock.now)

    await orchestrator.Orchestrator()._compute(job)

    assert {path.name for path in store.files()} == before
    assert list((home / "tmp").iterdir()) == []


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
    return lambda times: monkeypatch.setattr(stepping, "aggregate", Failing(times))


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


async def test_a_disk_so_full_that_nothing_can_be_noted_is_no_reason_to_hurry(
    alice, bob, carol, make_training, monkeypatch
):
    """Neither the claim nor the pause can be written: it is tried again in a while, and not as often as one can."""
    training = await call(lambda: start(make_training(bob, carol)))
    for client, add in ((bob, 1.0), (carol, 2.0)):
        await upload_and_report(client, await call(lease, client), update(add))
    await call(settle, training)
    waits, tried = asyncio.Queue(), []

    async def wait_long(seconds):
        if seconds == orchestrator.TROUBLE_SECONDS:
            await waits.put(None)
            await asyncio.Event().wait()
        await sleep(seconds)

    def full(**given):
        tried.append(given)
        raise OperationalError("database or disk is full")

    sleep = asyncio.sleep
    monkeypatch.setattr(orchestrator.asyncio, "sleep", wait_long)
    for name in ("claim", "drop_claims"):
        monkeypatch.setattr(orchestrator.aggregation, name, full)
    monkeypatch.setattr(orchestrator.trainings, "pause", full)
    monkeypatch.setattr(orchestrator.Orchestrator, "_begin", nothing)
    async with orchestrating():
        await asyncio.wait_for(waits.get(), 10)
        for _ in range(20):
            await sleep(orchestrator.SWEEP_SECONDS)

    assert len(tried) <= 3, "to claim it, to pause, and, as the server ends, to let go of the claim"


async def nothing(self):
    """Nothing to do at the start."""


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
