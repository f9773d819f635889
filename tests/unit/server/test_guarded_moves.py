"""Every change of state is guarded: of any number of callers at the same time exactly one makes it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event
from typing import Any
from uuid import uuid4

import pytest
from django.db import connections
from django.utils import timezone

from hansa.protocol.tasks import TaskReport
from hansa.rounds.decisions import (
    AbandonRound,
    Aggregate,
    CloseRound,
    CloseSwag,
    Complete,
    FinishRound,
    OpenEvaluation,
    OpenRound,
    OpenSwag,
    RelayRound,
    SkipMoments,
)
from hansa.server.accounts import services as accounts
from hansa.server.accounts.models import Token
from hansa.server.blobs import store
from hansa.server.lifecycle.bridge import call
from hansa.server.lifecycle.errors import ServiceError
from hansa.server.registry.models import ModelVersion
from hansa.server.trainings.aggregation import aggregate
from hansa.server.trainings.models import Round, Task, Training, Update
from hansa.server.trainings.services import aggregation, leasing, rounds, tasks, trainings
from support.moments import moments
from support.work import lease, settle, start, update, upload, upload_and_report

CALLERS = 4


def race(service: Callable[[], Any]) -> list[Any]:
    """What each of the callers gets that call at the same moment, on threads and connections of their own."""
    together = Barrier(CALLERS)

    def once(_number: int) -> Any:
        together.wait(timeout=10)
        try:
            return service()
        except ServiceError as error:
            return error
        finally:
            connections.close_all()

    with ThreadPoolExecutor(CALLERS) as pool:
        return list(pool.map(once, range(CALLERS)))


def moved(results: list[Any]) -> list[Any]:
    """Those who were not refused, and did not find nothing to do."""
    return [result for result in results if result is not False and not isinstance(result, ServiceError)]


def decided(training: Training, kind: type) -> int:
    """How many of those who advance a training at the same time do this."""
    results = race(lambda: rounds.advance(training_id=training.id, now=timezone.now()))
    return sum(isinstance(result, kind) for result in results)


@pytest.fixture
async def reported(bob, carol, started):
    """Both clients have reported; the round is about to close."""
    for client, add in ((bob, 1.0), (carol, 2.0)):
        await upload_and_report(client, await call(lease, client), update(add))
    return started


@pytest.fixture
def closed(reported):
    """The round has closed; its version is not computed yet."""
    assert isinstance(settle(reported), Aggregate)
    return reported


def test_a_training_is_started_once(training):
    results = race(lambda: trainings.start(training_id=training.id, now=timezone.now()))

    assert len(moved(results)) == 1


@pytest.mark.parametrize("service", ["pause", "cancel"])
def test_a_training_is_paused_or_cancelled_once(started, service):
    arguments = {"training_id": started.id} | ({"now": timezone.now()} if service == "cancel" else {})

    assert len(moved(race(lambda: getattr(trainings, service)(**arguments)))) == 1


def test_a_training_is_resumed_once(started):
    trainings.pause(training_id=started.id)

    assert len(moved(race(lambda: trainings.resume(training_id=started.id, now=timezone.now())))) == 1


def test_a_round_is_opened_once(training):
    trainings.start(training_id=training.id, now=timezone.now())

    assert decided(training, OpenRound) == 1
    assert (Round.objects.count(), Task.objects.count()) == (1, 2)


def test_a_task_is_leased_by_one_instance(bob, started):
    results = race(lambda: leasing.lease_next(user_id=bob.user.id, instance=uuid4().hex, now=timezone.now()))

    assert sum(result is not None for result in results) == 1


async def test_a_report_counts_once_and_all_get_its_receipt(bob, bobs_task):
    await upload(bob, bobs_task, update())
    report = TaskReport(num_examples=1, digest=update().digest, metrics={"loss": 1.0})

    def commit():
        return tasks.report(task_id=bobs_task.id, user_id=bob.user.id, report=report, now=timezone.now())

    receipts = await call(race, commit)

    assert len(set(receipts)) == 1
    assert await call(Update.objects.count) == 1


def test_a_round_is_closed_once(reported):
    assert decided(reported, CloseRound) == 1


def test_a_closed_round_is_claimed_once(closed):
    jobs = race(lambda: aggregation.claim(training_id=closed.id, now=timezone.now()))

    assert sum(job is not None for job in jobs) == 1


def test_a_version_is_committed_once(closed):
    job = aggregation.claim(training_id=closed.id, now=timezone.now())
    digests = computed(job)

    assert sum(race(lambda: aggregation.commit(job=job, digests=digests, now=timezone.now()))) == 1
    assert sorted(ModelVersion.objects.values_list("number", flat=True)) == [0, 1]


def computed(job):
    with store.BlobFile() as blob:
        digests = aggregate(job, blob, Event())
    store.place(blob.path, digests.sha256)
    return digests


def test_who_is_late_with_the_same_version_does_no_harm(closed):
    """Two servers, of which the first was thought to be dead: same inputs, same bytes, one version."""
    first = aggregation.claim(training_id=closed.id, now=timezone.now())
    aggregation.drop_claims()
    second = aggregation.claim(training_id=closed.id, now=timezone.now())
    digests = computed(first)
    assert computed(second) == digests

    assert aggregation.commit(job=second, digests=digests, now=timezone.now()) is True
    assert aggregation.commit(job=first, digests=digests, now=timezone.now()) is False


def test_a_round_is_abandoned_once_whether_or_not_somebody_aggregates_it(closed):
    job = aggregation.claim(training_id=closed.id, now=timezone.now())
    results = race(lambda: rounds.abandon(training_id=closed.id, reason="torn", now=timezone.now()))

    assert sum(results) == 1
    closed.refresh_from_db()
    assert closed.failures == 1
    assert aggregation.renew_claim(round_id=job.round_id, claim=job.claim, now=timezone.now()) is False
    assert aggregation.commit(job=job, digests=None, now=timezone.now()) is False, "and what it computed is let go"


def test_a_claim_can_be_renewed_and_dropped_by_its_holder_only(closed):
    mine = aggregation.claim(training_id=closed.id, now=timezone.now())

    assert aggregation.renew_claim(round_id=mine.round_id, claim=mine.claim, now=timezone.now()) is True
    assert aggregation.renew_claim(round_id=mine.round_id, claim=mine.round_id, now=timezone.now()) is False
    assert aggregation.drop_claims(claim=mine.round_id) == 0
    assert aggregation.drop_claims(claim=mine.claim) == 1


def test_a_round_is_finished_once_and_so_is_a_training(closed):
    job = aggregation.claim(training_id=closed.id, now=timezone.now())
    aggregation.commit(job=job, digests=computed(job), now=timezone.now())
    assert decided(closed, FinishRound) == 1

    Training.objects.filter(id=closed.id).update(rounds_done=2)
    Round.objects.filter(training=closed).exclude(state="done").update(state="abandoned")
    assert decided(closed, Complete) == 1


async def test_an_evaluation_is_opened_once(bob, make_training):
    training = await call(lambda: start(make_training(bob, evaluation={"every": 1})))
    await upload_and_report(bob, await call(lease, bob), update())
    await call(settle, training)

    def commit():
        job = aggregation.claim(training_id=training.id, now=timezone.now())
        aggregation.commit(job=job, digests=computed(job), now=timezone.now())
        return decided(training, OpenEvaluation)

    assert await call(commit) == 1
    assert await call(Task.objects.filter(kind="evaluate").count) == 1


async def test_a_round_is_handed_on_once(bob, carol, make_training):
    training = await call(lambda: start(make_training(bob, carol, rounds=2, daisy_chain={"period": 2})))
    for client, add in ((bob, 1.0), (carol, 2.0)):
        await upload_and_report(client, await call(lease, client), update(add))

    assert await call(lambda: decided(training, RelayRound)) == 1
    await call(settle, training)
    assert await call(Task.objects.filter(round__number=2, source__isnull=False).count) == 2


@pytest.fixture
async def made(bob, carol, make_training):
    """A training that wants moments; its version is made, and nobody is asked yet."""
    training = await call(lambda: start(make_training(bob, carol, uncertainty={"method": "swag"})))
    for client, add in ((bob, 1.0), (carol, 2.0)):
        await upload_and_report(client, await call(lease, client), update(add))
    await call(settle, training)

    def commit():
        job = aggregation.claim(training_id=training.id, now=timezone.now())
        aggregation.commit(job=job, digests=computed(job), now=timezone.now())

    await call(commit)
    return training


async def test_moments_are_asked_for_averaged_and_committed_once(bob, carol, made):
    assert await call(lambda: decided(made, OpenSwag)) == 1
    assert await call(Task.objects.filter(kind="swag").count) == 2
    for client, first in ((bob, 1.0), (carol, 2.0)):
        task = await call(lease, client)
        await upload(client, task, moments(first))
        body = {"num_examples": 5, "digest": moments(first).digest}
        assert (await client.post(f"/api/tasks/{task.id}/report/", json=body)).status_code == 200
    assert await call(lambda: decided(made, CloseSwag)) == 1

    def claim():
        return aggregation.claim(training_id=made.id, now=timezone.now())

    (job,) = [job for job in await call(race, claim) if job is not None]
    digests = await call(computed, job)
    assert sum(await call(race, lambda: aggregation.commit(job=job, digests=digests, now=timezone.now()))) == 1
    version = await call(ModelVersion.objects.get, model_id=made.model_id, number=1)
    assert version.moments_id == digests.sha256


async def test_moments_are_given_up_once(bob, carol, made):
    await call(rounds.advance, training_id=made.id, now=timezone.now())
    for client in (bob, carol):
        task = await call(lease, client)
        await call(tasks.give_back, task_id=task.id, user_id=client.user.id, reason="none", failed=True)

    assert await call(lambda: decided(made, SkipMoments)) == 1


def test_a_failed_round_is_given_up_once(bob, make_training):
    training = start(make_training(bob))
    task = lease(bob)
    tasks.give_back(task_id=task.id, user_id=bob.user.id, reason="broken", failed=True)

    assert decided(training, AbandonRound) == 1


def test_an_invitation_is_used_once(alice):
    code = accounts.invite(actor=alice.user, username="dave", expires_in_seconds=60, now=timezone.now()).code

    assert len(moved(race(lambda: accounts.enroll(code=code, now=timezone.now())))) == 1
    assert Token.objects.filter(user__username="dave").count() == 1
