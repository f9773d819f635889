"""Daisy chaining in rows: which local model each client of a round goes on from.

The round before, if it was not aggregated, has left an accepted list; its updates are dealt by `core.relay.deal` with
a generator seeded from (training seed, round). So every attempt at a round deals the same models by the same dice, and
whoever has the accepted lists and the cohorts can repeat a training that travelled.
"""

from collections.abc import Sequence

from django.db.models import Q

from hansa.core.relay import deal
from hansa.core.seeds import relay_rng
from hansa.protocol.tasks import TaskKind
from hansa.rounds import plan as plans
from hansa.rounds.states import FINAL_TRAINING_STATUSES, RoundState
from hansa.server.trainings.models import Training, Update


def sources(*, training: Training, number: int, required: Sequence[int], others: Sequence[int]) -> dict[int, Update]:
    """By ordinal the local model that a client of round `number` goes on from; who is not in it starts from the base.

    `required` are waited for; `others` are invited, and get a model only where there are more models than required.
    """
    before = number - 1
    if before == 0 or plans.aggregates(training.parsed_plan, round_number=before):
        return {}
    models = {update.task.participation.ordinal: update for update in _accepted(training, before)}
    dealt = deal(sorted(models), required, others, relay_rng(training.seed, number))
    return {client: models[model] for client, model in dealt.items()}


def _accepted(training: Training, number: int) -> list[Update]:
    """The local models of a round that was handed on: those that reported late, or in a vain attempt, are none."""
    done = training.rounds.filter(number=number, state=RoundState.DONE.value).first()
    digests = {ordinal: digest for ordinal, digest, _ in (done.accepted if done else None) or []}
    updates = Update.objects.filter(task__round=done, task__kind=TaskKind.TRAIN.value, blob__isnull=False)
    rows = updates.select_related("task__participation")
    return [row for row in rows if digests.get(row.task.participation.ordinal) == row.digest]


def travelling(training: Training, rounds_done: int) -> Q:
    """Of a training's tasks those whose local models the next round needs, in as many attempts as it takes."""
    over = training.status in FINAL_TRAINING_STATUSES or rounds_done == 0
    if over or plans.aggregates(training.parsed_plan, round_number=rounds_done):
        return Q(pk__in=[])
    return Q(round__number=rounds_done, round__state=RoundState.DONE.value)
