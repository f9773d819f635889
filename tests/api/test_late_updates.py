"""`late: fold`: what comes when its round has closed counts in the next one, less the later it is.

Bob and Carol take part in Alice's training of three rounds, each closed by the first report: Carol is quick, and Bob is
late.
"""

import pytest
from safetensors.numpy import load

from hansa.core.staleness import factor, weight
from hansa.crashpoints import observed
from hansa.protocol import trainings as wire
from hansa.protocol.tasks import HeartbeatAnswer, Receipt
from hansa.server.blobs import services as blobs
from hansa.server.blobs import store
from hansa.server.blobs.models import Blob
from hansa.server.lifecycle.bridge import call, read
from hansa.server.registry.models import Metric, ModelVersion
from hansa.server.trainings import assignments, mending, orchestrator, stepping, uploads
from hansa.server.trainings.aggregation import aggregate
from hansa.server.trainings.models import Participation, Round, Task, Update
from hansa.server.trainings.services import aggregation, folding, rounds, tasks, trainings
from hansa.server.trainings.services.aggregation import LateUpdateUnreadableError
from support.answers import nothing_changes, refused, shown
from support.damage import take_away
from support.federation import ended, orchestrating, take, until
from support.moments import moments
from support.older import Small, accepted, pickled, send_update
from support.slow_mean import bits, slow_mean
from support.work import add_up, lease, report_of, settle, start, update, upload, upload_and_report

LATE = {"kind": "fold", "exponent": 0.5}
BOB, CAROL = 0, 1
"""Their ordinals."""


def url(task, rest="report/"):
    return f"/api/tasks/{task.id}/{rest}"


@pytest.fixture
def begin(bob, carol, make_training):
    """Start such a training; parts of its plan may be others."""

    def make(**plan):
        return start(make_training(bob, carol, **{"rounds": 3, "closing": {"quorum": 1}, "late": LATE, **plan}))

    return make


@pytest.fixture
async def training(begin):
    """The training, in its first round."""
    return await call(begin)


@pytest.fixture
async def late(bob, carol, training):
    """Bob's task in the first round, which has closed without it; the second has begun."""
    task = await call(lease, bob)
    await close_with(carol, training, 1)
    await call(add_up, training)
    return task


async def close_with(client, training, number, *, examples=30):
    """The client reports in round `number`, which closes by that."""
    await upload_and_report(client, await call(lease, client), update(10.0 * number), examples)
    await call(settle, training)


async def round_of(training, number):
    return await read(training.rounds.filter(number=number).order_by("-attempt").first)


async def version(training, number):
    made = await read(lambda: training.model.versions.select_related("blob").get(number=number))
    return load(store.path_of(made.blob_id).read_bytes())


async def test_its_report_is_acknowledged_and_says_that_it_is_late(bob, late, clock):
    await upload(bob, late, update(1.0))
    receipt = shown(await bob.post(url(late), json=report_of(update(1.0))), Receipt)

    assert (receipt.verdict, receipt.digest, receipt.late) == ("accepted", update(1.0).digest, True)
    assert receipt.received_at == clock.now.isoformat()


async def test_the_same_late_report_again_gets_the_same_receipt_for_ever(bob, carol, late, training, clock):
    await upload(bob, late, update(1.0))
    first = shown(await bob.post(url(late), json=report_of(update(1.0))), Receipt)
    clock.advance(5)
    async with nothing_changes():
        assert shown(await bob.post(url(late), json=report_of(update(1.0))), Receipt) == first

    for number in (2, 3):
        await close_with(carol, training, number)
        await call(add_up, training)
    async with nothing_changes():
        assert shown(await bob.post(url(late), json=report_of(update(1.0))), Receipt) == first


async def test_another_digest_does_not_replace_a_late_report(bob, late):
    await upload_and_report(bob, late, update(1.0))

    async with nothing_changes():
        refused(await bob.post(url(late), json=report_of(update(2.0))), 409, "digest_conflict", "first report counts")
        refused(await bob.put(url(late, f"update/{update(2.0).digest}/"), content=b""), 409, "round_closed")


async def test_a_client_that_works_on_is_told_to_go_on_and_holds_no_lease(bob, late):
    answer = await bob.post(url(late, "heartbeat/"), json={"progress": 0.75})

    assert shown(answer, HeartbeatAnswer).proceed
    row = await read(Task.objects.get, id=late.id)
    assert (row.state, row.lease_until, row.progress) == ("closed", None, 0.75)
    await upload(bob, late, update(1.0))
    assert (await read(Task.objects.get, id=late.id)).lease_until is None


async def test_an_update_may_be_sent_in_pieces_while_its_round_closes(bob, carol, training):
    task = await call(lease, bob)
    file = update(1.0)
    head = {"Upload-Offset": "0", "Upload-Length": str(len(file))}
    await bob.put(url(task, f"update/{file.digest}/"), content=file.content[:100], headers=head)
    await close_with(carol, training, 1)

    held = int((await bob.head(url(task, f"update/{file.digest}/"))).headers["Upload-Offset"])
    rest = {"Upload-Offset": str(held), "Upload-Length": str(len(file))}
    sent = await bob.put(url(task, f"update/{file.digest}/"), content=file.content[held:], headers=rest)
    assert (held, sent.status_code) == (100, 200)
    assert (await bob.post(url(task), json=report_of(file))).status_code == 200


async def test_what_a_late_client_has_sent_in_part_is_kept_until_it_would_be_too_late(bob, carol, late, training):
    file = update(1.0)
    head = {"Upload-Offset": "0", "Upload-Length": str(len(file))}
    await bob.put(url(late, f"update/{file.digest}/"), content=file.content[:100], headers=head)
    path = store.partial_path(late.id, file.digest)

    uploads.drop_abandoned(open_tasks=await read(assignments.open_uploads), before=path.stat().st_mtime + 1)
    assert path.exists()
    await close_with(carol, training, 2)
    await call(add_up, training)
    uploads.drop_abandoned(open_tasks=await read(assignments.open_uploads), before=path.stat().st_mtime + 1)
    assert not path.exists()


@pytest.mark.parametrize(("weighting", "counts"), [("examples", 10), ("equal", 1)])
async def test_it_counts_in_the_next_round_with_its_weight_after_staleness(bob, carol, begin, weighting, counts):
    training = await call(begin, aggregator={"kind": "weighted_mean", "weighting": weighting})
    late = await call(lease, bob)
    await close_with(carol, training, 1)
    await call(add_up, training)
    await upload_and_report(bob, late, update(1.0))
    assert (await round_of(training, 2)).state == "collecting", "it is no report of this round"
    await close_with(carol, training, 2)

    closed = await round_of(training, 2)
    lightly = weight(counts, 1, 0.5)
    assert closed.accepted == [[CAROL, update(20.0).digest, 30 if weighting == "examples" else 1]]
    assert closed.folded == [[BOB, update(1.0).digest, lightly, 1]]
    assert (await read(Update.objects.get, task=late)).folded_into_id == closed.id
    await call(add_up, training)
    files = [load(update(20.0).content), load(update(1.0).content)]
    assert bits(await version(training, 2)) == bits(slow_mean(files, [closed.accepted[0][2], lightly]))


async def test_it_counts_once(bob, carol, late, training):
    await upload_and_report(bob, late, update(1.0))
    for number in (2, 3):
        await close_with(carol, training, number)
        await call(add_up, training)

    assert (await round_of(training, 3)).folded == []
    assert bits(await version(training, 3)) == bits(load(update(30.0).content))


async def test_a_late_update_that_comes_while_the_version_is_computed_waits_for_the_next_round(bob, carol, training):
    late = await call(lease, bob)
    await close_with(carol, training, 1)
    job = await call(aggregation.claim, training_id=training.id, now=late.leased_at)
    await upload_and_report(bob, late, update(1.0))

    assert [line.ordinal for line in job.updates] == [CAROL]
    await call(aggregation.drop_claims)
    await call(add_up, training)
    assert bits(await version(training, 1)) == bits(load(update(10.0).content))
    await close_with(carol, training, 2)
    assert [line[0] for line in (await round_of(training, 2)).folded] == [BOB]


async def test_its_late_and_its_new_update_both_count(bob, carol, begin, clock):
    training = await call(begin, closing={"min_reports": 1})
    late = await call(lease, bob)
    await upload_and_report(carol, await call(lease, carol), update(10.0), 30)
    clock.advance(61)
    await call(settle, training)
    await call(add_up, training)
    await upload_and_report(bob, late, update(1.0))
    new = {client: await call(lease, client) for client in (carol, bob)}
    for client, add in ((carol, 20.0), (bob, 2.0)):
        await upload_and_report(client, new[client], update(add), 30)
    await call(settle, training)

    closed = await round_of(training, 2)
    assert [line[0] for line in closed.accepted] == [BOB, CAROL]
    assert [line[0] for line in closed.folded] == [BOB]
    await call(add_up, training)
    weights = [line[2] for line in closed.accepted + closed.folded]
    files = [load(update(add).content) for add in (2.0, 20.0, 1.0)]
    assert bits(await version(training, 2)) == bits(slow_mean(files, weights))


async def test_what_would_come_too_late_is_refused(bob, carol, late, training):
    await upload(bob, late, update(1.0))
    await close_with(carol, training, 2)

    async with nothing_changes():
        refused(await bob.post(url(late), json=report_of(update(1.0))), 409, "round_closed", "Round 1 has closed")
        refused(await bob.put(url(late, f"update/{update(2.0).digest}/"), content=b"x"), 409, "round_closed")
        assert (await bob.head(url(late, f"update/{update(2.0).digest}/"))).status_code == 409
        assert not shown(await bob.post(url(late, "heartbeat/"), json={}), HeartbeatAnswer).proceed


async def test_the_staleness_may_be_greater(bob, carol, begin):
    training = await call(begin, late={"kind": "fold", "exponent": 1.0, "max_staleness": 2})
    late = await call(lease, bob)
    for number in (1, 2):
        await close_with(carol, training, number)
        await call(add_up, training)
    await upload_and_report(bob, late, update(1.0), 30)
    await close_with(carol, training, 3)

    assert (await round_of(training, 3)).folded == [[BOB, update(1.0).digest, 10.0, 1]]


async def test_after_the_last_round_nothing_counts_any_more(bob, carol, begin):
    training = await call(begin, rounds=1)
    late = await call(lease, bob)
    await close_with(carol, training, 1)

    async with nothing_changes():
        refused(await bob.post(url(late), json=report_of(update(1.0))), 409, "round_closed")


async def test_where_late_updates_are_discarded_they_are_refused(bob, carol, begin):
    training = await call(begin, late={"kind": "discard"})
    late = await call(lease, bob)
    await close_with(carol, training, 1)

    async with nothing_changes():
        refused(await bob.post(url(late), json=report_of(update(1.0))), 409, "round_closed", "Round 1 has closed")
    assert (await round_of(training, 1)).folded is None


async def test_a_new_attempt_counts_what_the_abandoned_one_did_not(bob, carol, late, training, clock):
    await upload_and_report(bob, late, update(1.0))
    await close_with(carol, training, 2)
    first = (await round_of(training, 2)).folded
    await call(rounds.abandon, training_id=training.id, reason="its version could not be computed", now=clock.now)
    await call(settle, training)
    await close_with(carol, training, 2)

    again = await round_of(training, 2)
    assert (again.attempt, again.folded) == (2, first)
    assert (await read(Update.objects.get, task=late)).folded_into_id == again.id
    await call(add_up, training)
    assert await read(Update.objects.exclude(folded_into=None).count) == 1


async def test_what_came_for_an_attempt_that_was_abandoned_counts_nowhere(bob, training, clock):
    late = await call(lease, bob)
    await call(rounds.abandon, training_id=training.id, reason="nobody came", now=clock.now)

    async with nothing_changes():
        refused(await bob.post(url(late), json=report_of(update(1.0))), 409, "round_closed", "abandoned")


async def test_a_client_that_was_removed_or_has_failed_is_not_late_but_out(bob, carol, training):
    failed = await call(lease, bob)
    await call(tasks.give_back, task_id=failed.id, user_id=bob.user.id, reason="out of memory", failed=True)
    await close_with(carol, training, 1)
    await call(add_up, training)
    removed = await call(lease, bob)
    await call(trainings.remove_clients, training_id=training.id, clients=[bob.user])
    await close_with(carol, training, 2)

    for task in (failed, removed):
        async with nothing_changes():
            refused(await bob.post(url(task), json=report_of(update(1.0))), 409, "round_closed")


async def test_a_lost_client_may_be_late_too(bob, carol, clock, training):
    late = await call(lease, bob)
    clock.advance(59)
    await call(lease, carol)
    clock.advance(2)
    await call(settle, training)
    assert (await read(Task.objects.get, id=late.id)).state == "lost"
    await close_with(carol, training, 1)

    await upload_and_report(bob, late, update(1.0))
    row = await read(Task.objects.get, id=late.id)
    assert (row.state, row.reason) == ("closed", "the lease ended without a sign of life")


async def test_its_bytes_are_kept_until_the_version_after_the_one_it_counts_in_and_its_rows_longer(
    bob, carol, begin, clock
):
    training = await call(begin, rounds=4)
    late = await call(lease, bob)
    await close_with(carol, training, 1)
    await call(add_up, training)
    await upload_and_report(bob, late, update(1.0))
    path = store.path_of(update(1.0).digest)

    async def collected():
        clock.advance(3600)
        await blobs.collect(before=clock.now)
        return not path.exists()

    assert not await collected()
    await close_with(carol, training, 2)
    assert not await collected()
    await call(add_up, training)
    assert not await collected()
    await close_with(carol, training, 3)
    assert not await collected()
    await call(add_up, training)
    assert await collected()
    assert (await read(Update.objects.get, task=late)).digest == update(1.0).digest


@pytest.mark.parametrize("undone", [1, 2])
async def test_it_counts_again_when_the_version_it_has_counted_in_is_lost(undone, bob, carol, late, training):
    await upload_and_report(bob, late, update(1.0))
    for _ in range(undone):
        await close_with(carol, training, 2)
        await call(add_up, training)
        made = await round_of(training, 2)
        lost = await version_blob(training, 2)
        take_away(lost)
        await mending.attend(lost)
        await call(settle, training)
    await close_with(carol, training, 2)
    await call(add_up, training)

    second = await round_of(training, 2)
    assert (second.attempt, second.folded) == (undone + 1, made.folded)
    assert [line[0] for line in second.folded] == [BOB]
    assert (await version_blob(training, 2)) == lost, "the same bits"


async def test_it_counts_no_second_time_when_moments_of_its_round_are_lost(bob, carol, begin):
    training = await call(begin, uncertainty={"method": "swag"})
    late = await call(lease, bob)
    await close_with(carol, training, 1)
    await call(add_up, training)
    await send_moments(carol, training)
    await call(add_up, training)
    await upload_and_report(bob, late, update(1.0))
    await close_with(carol, training, 2)
    await call(add_up, training)
    await send_moments(carol, training)
    assert (await round_of(training, 2)).state == "combining"

    take_away(moments(1.0).digest)
    await mending.attend(moments(1.0).digest)

    second = await round_of(training, 2)
    assert (second.state, [line[0] for line in second.folded]) == ("swag", [BOB])
    assert (await read(Update.objects.get, task=late)).folded_into_id == second.id


async def send_moments(client, training):
    """The client sends moments for the version that its round has made, and they are all."""
    await upload(client, task := await call(lease, client), moments(1.0))
    body = {**report_of(moments(1.0)), "metrics": {}}
    assert (await client.post(url(task), json=body)).status_code == 200
    await call(settle, training)


async def version_blob(training, number):
    return (await read(ModelVersion.objects.get, model_id=training.model_id, number=number)).blob_id


async def test_an_upload_is_let_go_once_it_can_count_no_more(bob, carol, late, training):
    await upload(bob, late, update(1.0))
    await close_with(carol, training, 2)
    assert (await read(Task.objects.get, id=late.id)).uploaded_id is not None
    await call(add_up, training)

    assert (await read(Task.objects.get, id=late.id)).uploaded_id is None


async def test_a_training_that_is_cancelled_keeps_nothing_for_later(bob, late, training, clock):
    await upload_and_report(bob, late, update(1.0))
    await call(trainings.cancel, training_id=training.id, now=clock.now)

    assert (await read(Update.objects.get, task=late)).blob_id is None


async def test_its_metrics_are_those_of_the_round_it_was_trained_in(alice, bob, carol, late, training):
    await upload(bob, late, update(1.0))
    await bob.post(url(late), json=report_of(update(1.0), 10, {"loss": 4.0}))

    assert (await read(Metric.objects.get, reporter=bob.user)).step == 1
    (first,) = (await alice.get(f"/api/trainings/{training.id}/metrics/")).json()
    assert first["train"]["loss"] == {"mean": (30 * 0.5 + 10 * 4.0) / 40, "minimum": 0.5, "maximum": 4.0, "clients": 2}


async def test_who_was_late_is_not_asked_to_evaluate(bob, carol, begin):
    training = await call(begin, evaluation={"every": 1})
    late = await call(lease, bob)
    await close_with(carol, training, 1)
    await upload_and_report(bob, late, update(1.0))
    await call(add_up, training)

    evaluating = await read(lambda: list(Task.objects.filter(kind="evaluate").select_related("participation")))
    assert [task.participation.ordinal for task in evaluating] == [CAROL]


@pytest.mark.parametrize("damage", ["gone", "torn"])
async def test_the_round_does_without_a_late_update_that_is_damaged(damage, alice, bob, carol, late, training, soon):
    await upload_and_report(bob, late, update(1.0))
    path = store.path_of(update(1.0).digest)
    if damage == "gone":
        path.unlink()
    else:
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
    async with orchestrating():
        for number in (2, 3):
            await upload_and_report(carol, (await take(carol))["id"], update(10.0 * number), 30)
        record = await ended(alice, training)

    second = await round_of(training, 2)
    assert (record["status"], second.attempt, second.folded) == ("completed", 1, [])
    assert bits(await version(training, 2)) == bits(load(update(20.0).content))
    row = await read(Update.objects.get, task=late)
    assert (row.blob_id, row.folded_into_id) == (None, None)
    assert "cannot be read" in row.reason


async def test_a_late_update_counts_whose_bytes_are_right_and_only_its_row_is_damaged(
    alice, bob, carol, late, training, soon, monkeypatch
):
    monkeypatch.setattr(orchestrator, "TROUBLE_SECONDS", 0.0)
    await upload_and_report(bob, late, update(1.0))
    await close_with(carol, training, 2)
    await call(Blob.objects.filter(sha256=update(1.0).digest).update, checksums=bytes(8))

    async with orchestrating():
        await until(alice, training, lambda record: record["version"] == 2)

    second = await round_of(training, 2)
    assert ([line[0] for line in second.folded], second.attempt) == ([BOB], 1)
    files = [load(update(20.0).content), load(update(1.0).content)]
    assert bits(await version(training, 2)) == bits(slow_mean(files, [second.accepted[0][2], second.folded[0][2]]))


async def test_a_late_update_that_never_can_be_read_is_done_without_after_a_few_times(
    alice, bob, carol, late, training, soon, monkeypatch
):
    tried = []

    def unreadable(job, *rest):
        if job.updates[-1].late_from is not None:
            tried.append(job.updates[-1])
            raise LateUpdateUnreadableError(update=tried[-1], number=1, why="the disk is slow")
        return aggregate(job, *rest)

    monkeypatch.setattr(orchestrator, "TROUBLE_SECONDS", 0.0)
    monkeypatch.setattr(stepping, "aggregate", unreadable)
    await upload_and_report(bob, late, update(1.0))
    await close_with(carol, training, 2)

    async with orchestrating():
        await until(alice, training, lambda record: record["version"] == 2)

    assert len(tried) == orchestrator.MAX_TROUBLES
    assert (await round_of(training, 2)).folded == []


async def test_one_that_is_lost_while_it_waits_may_be_sent_again(alice, bob, carol, late, training):
    await upload_and_report(bob, late, update(1.0))
    take_away(update(1.0).digest)
    await mending.attend(update(1.0).digest)

    told = await read(Task.objects.get, id=late.id)
    assert "lost before it could count" in told.reason
    assert "asked for again" not in told.reason
    assert (told.state, told.reported_at, told.uploaded_id) == ("closed", None, None)
    again = await bob.post(url(late), json=report_of(update(1.0)))
    assert refused(again, 409, "upload_incomplete")
    await upload_and_report(bob, late, update(1.0))
    await close_with(carol, training, 2)
    await call(add_up, training)
    assert [line[:2] for line in (await round_of(training, 2)).folded] == [[BOB, update(1.0).digest]]


async def test_one_that_is_lost_and_not_sent_again_counts_nowhere(bob, carol, late, training):
    await upload_and_report(bob, late, update(1.0))
    take_away(update(1.0).digest)
    await mending.attend(update(1.0).digest)

    await close_with(carol, training, 2)
    await call(add_up, training)

    second = await round_of(training, 2)
    assert (second.attempt, second.folded) == (1, [])


async def test_one_that_is_lost_when_it_could_count_no_more_is_said_to_be_lost(bob, carol, late, training):
    await upload_and_report(bob, late, update(1.0))
    await call(Participation.objects.filter(client=bob.user).update, excluded="for a test")
    take_away(update(1.0).digest)
    await mending.attend(update(1.0).digest)

    row = await read(Update.objects.get, task=late)
    assert row.blob_id is None
    assert row.reason.startswith("lost: its bytes were lost on the server's disk")


async def test_what_was_computed_with_a_late_update_that_is_lost_is_not_committed(bob, carol, late, training, clock):
    await upload_and_report(bob, late, update(1.0))
    await close_with(carol, training, 2)
    job = await call(aggregation.claim, training_id=training.id, now=clock.now)
    await call(folding.drop, training_id=training.id, number=1, ordinal=BOB, reason="lost")

    closed = await round_of(training, 2)
    assert (closed.folded, closed.claim) == ([], None)
    for told in (closed.reason, closed.closing_reason):
        assert "without the late update of client 0 from round 1" in told
    digests = store.digested(store.path_of(update(1.0).digest))
    assert not await call(aggregation.commit, job=job, digests=digests, now=clock.now)
    assert not await call(folding.drop, training_id=training.id, number=1, ordinal=BOB, reason="lost again")


class Died(BaseException):
    """What a crash stands for."""


@pytest.mark.parametrize("side", ["written", "committed"])
@pytest.mark.parametrize("point", ["tasks.record_upload", "tasks.report", "rounds.CloseRound", "aggregation.commit"])
async def test_a_crash_at_any_change_of_a_late_update_loses_nothing_and_counts_nothing_twice(
    point, side, bob, carol, late, training
):
    def die(passed):
        if passed == f"{point}.{side}":
            raise Died

    async def survive(step):
        """The step, after dying in it the same again, as its caller would try."""
        try:
            with observed(die):
                await step()
        except Died:
            await step()

    file = update(1.0)
    await survive(lambda: upload(bob, late, file))

    async def report_late():
        assert (await bob.post(url(late), json=report_of(file))).json()["late"]

    await survive(report_late)
    await upload_and_report(carol, await call(lease, carol), update(20.0), 30)
    await survive(lambda: call(settle, training))
    await call(aggregation.drop_claims)
    await survive(lambda: call(finish, training))

    assert [line[0] for line in (await round_of(training, 2)).folded] == [BOB]
    assert await read(Update.objects.exclude(folded_into=None).count) == 1
    files = [load(update(20.0).content), load(file.content)]
    assert bits(await version(training, 2)) == bits(slow_mean(files, [30, weight(10, 1, 0.5)]))


def finish(training):
    """The arithmetic, by whoever starts after a crash; nothing if it was done."""
    aggregation.drop_claims()
    if Round.objects.filter(training=training, state="aggregating").exists():
        add_up(training)


async def test_an_older_client_may_be_late(bob, carol, training):
    await close_with(carol, training, 1)
    await call(add_up, training)
    sent = pickled(Small(1.0))

    await accepted(bob, training.model_id, sent, round=0, sample_size=10)
    async with nothing_changes():
        await accepted(bob, training.model_id, sent, round=0, sample_size=10)
    await close_with(carol, training, 2)
    assert (await round_of(training, 2)).folded == [[BOB, update(1.0).digest, weight(10, 1, 0.5), 1]]
    async with nothing_changes():
        refused(await send_update(bob, training.model_id, pickled(Small(2.0)), round=0), 409, "round_closed")


async def test_a_round_shows_the_late_updates_that_count_in_it(alice, bob, late, carol, training):
    await upload_and_report(bob, late, update(1.0))
    await close_with(carol, training, 2)
    await call(add_up, training)

    rounds_ = shown(await alice.get(f"/api/trainings/{training.id}/rounds/"), list[wire.Round])
    lightly = weight(10, 1, 0.5)
    assert [each.folded for each in rounds_] == [
        [],
        [
            wire.FoldedUpdate(
                client=bob.id,
                username="bob",
                ordinal=BOB,
                round=1,
                staleness=1,
                factor=factor(1, 0.5),
                weight=lightly / (30 + lightly),
                digest=update(1.0).digest,
            )
        ],
        [],
    ]
    assert [each.reported for each in rounds_] == [1, 1, 0], "in time"
    second = shown(await alice.get(f"/api/trainings/{training.id}/rounds/2/"), wire.Round)
    assert second.folded == rounds_[1].folded
    assert [task.weight for task in second.tasks] == [None, 30 / (30 + lightly)]


async def test_a_round_shows_whose_update_came_late_and_where_it_counts(alice, bob, late, carol, training):
    await upload_and_report(bob, late, update(1.0))

    async def bobs():
        answer = await alice.get(f"/api/trainings/{training.id}/rounds/1/")
        return shown(answer, wire.Round).tasks[BOB]

    waiting = await bobs()
    assert (waiting.state, waiting.late, waiting.counts_in, waiting.weight) == ("closed", True, None, None)
    assert (waiting.num_examples, waiting.digest) == (10, update(1.0).digest)
    await close_with(carol, training, 2)
    assert (await bobs()).counts_in == 2


async def test_participants_see_who_was_late_and_not_what_it_sent(bob, late, carol, training):
    await upload_and_report(bob, late, update(1.0))
    await close_with(carol, training, 2)

    for client, told in ((bob, True), (carol, False)):
        (seen,) = shown(await client.get(f"/api/trainings/{training.id}/rounds/2/"), wire.Round).folded
        assert (seen.username, seen.round, seen.staleness) == ("bob", 1, 1)
        assert (seen.digest is not None, seen.weight is not None) == (told, told)


async def test_who_has_just_reported_late_has_time_to_ask_for_its_next_task(bob, late, carol, training, clock):
    await call(lease, carol)
    clock.advance(58)
    await upload_and_report(bob, late, update(1.0))
    clock.advance(3)
    await call(settle, training)

    offered = await read(Task.objects.get, round__number=2, participation__client=bob.user)
    assert offered.state == "offered"
