"""What is done after each report, and for each closed round, does not cost more than it must."""

from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from hansa.rounds.decisions import Aggregate
from hansa.server.lifecycle.bridge import call
from hansa.server.trainings import facts
from hansa.server.trainings.models import Training
from hansa.server.trainings.services import aggregation
from support.work import lease, settle, update, upload_and_report


async def test_a_look_at_one_training_finds_what_a_look_at_many_finds(bob, carol, started):
    await upload_and_report(bob, await call(lease, bob), update(1.0))
    await call(lease, carol)

    def facts_of_one_and_of_many():
        now, row = timezone.now(), Training.objects.get(id=started.id)
        return facts.load(row, now), facts.load_all([row], Training.objects.all(), now)[row.id]

    one, many = await call(facts_of_one_and_of_many)
    assert one == many
    assert (one.round.tasks.reported, one.round.tasks.leased, one.round.tasks.total) == (1, 1, 2)
    assert one.round.first_taken_at is not None
    assert one.round.next_expiry is not None


async def test_a_claim_reads_the_accepted_list_once_and_not_with_every_update_of_it(bob, carol, started):
    for client, add in ((bob, 1.0), (carol, 2.0)):
        await upload_and_report(client, await call(lease, client), update(add))

    def claimed():
        assert isinstance(settle(started), Aggregate)
        with CaptureQueriesContext(connection) as asked:
            job = aggregation.claim(training_id=started.id, now=timezone.now())
        return job, [query["sql"] for query in asked]

    job, asked = await call(claimed)
    assert [line.ordinal for line in job.updates] == [0, 1]
    (updates,) = [sql for sql in asked if 'FROM "trainings_update"' in sql]
    assert '"accepted"' not in updates
