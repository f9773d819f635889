"""What happens to a training at one moment happens in one order or the other; on PostgreSQL several threads write."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Event

import pytest
from django.db import connections
from django.utils import timezone

from hansa.protocol.tasks import TaskReport
from hansa.rounds.decisions import CloseRound
from hansa.server.lifecycle.bridge import call
from hansa.server.trainings.models import Round, Training
from hansa.server.trainings.services import rounds, tasks
from support.work import lease, start, update, upload, upload_and_report

A_MOMENT = 0.3
"""Long enough for somebody who does not wait to be done."""


@pytest.fixture
def alone():
    """Run something on a thread and a connection of its own."""

    def closing(service):
        try:
            return service()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as pool:
        yield lambda service: pool.submit(closing, service)


async def test_a_round_that_closes_during_a_report_closes_with_it(bob, carol, make_training, alone, monkeypatch):
    training = await call(lambda: start(make_training(bob, carol, closing={"quorum": 1})))
    task = await call(lease, bob)
    await upload(bob, task, update(1.0))
    await upload_and_report(carol, await call(lease, carol), update(2.0))
    written, go_on = Event(), Event()

    def hold(*arguments):
        written.set()
        assert go_on.wait(10)

    monkeypatch.setattr(tasks, "_record_metrics", hold)
    report = TaskReport(num_examples=1, digest=update(1.0).digest, metrics={})

    def both():
        reporting = alone(lambda: tasks.report(task_id=task.id, user_id=bob.user.id, report=report, now=timezone.now()))
        assert written.wait(10)
        moving = alone(lambda: rounds.advance(training_id=training.id, now=timezone.now()))
        with suppress(TimeoutError):  # it waits for its turn
            moving.exception(A_MOMENT)
        go_on.set()
        return reporting.result(10), moving.result(10)

    receipt, decision = await call(both)

    assert receipt.digest == update(1.0).digest
    assert isinstance(decision, CloseRound)
    accepted = await call(lambda: Round.objects.get(training=training).accepted)
    assert [ordinal for ordinal, _, _ in accepted] == [0, 1], "what was acknowledged is counted"


def test_two_trainings_of_a_model_made_at_the_same_moment_have_a_model_each(bob, make_training, alone):
    made = [alone(lambda: make_training(bob)) for _ in range(2)]

    assert len({training.result(10).model_id for training in made}) == 2
    assert Training.objects.count() == 2
