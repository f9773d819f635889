"""Whether what the rows say can be true: states that exclude each other, lists that do not add up, times to come."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.db.models import F, Max, Q

from hansa.protocol.tasks import TaskKind
from hansa.rounds.states import LIVE_ROUND_STATES, RoundState, TaskState, TrainingStatus
from hansa.server.blobs.models import Blob
from hansa.server.doctor.finding import Finding, counted, error, listed, well
from hansa.server.doctor.surroundings import SET_CLOCK, SKEW_SECONDS
from hansa.server.registry.models import ModelVersion
from hansa.server.trainings.models import Round, Task, Training

LIVE = [state.value for state in LIVE_ROUND_STATES]
OVER = [TrainingStatus.COMPLETED.value, TrainingStatus.CANCELLED.value]
REPORT = "this must not happen: keep a backup, and report it with this output"


def clock(now: datetime) -> Iterator[Finding]:
    """Rows from the future: the clock has gone back since they were written, and leases end too late."""
    newest = [
        Training.objects.aggregate(at=Max("created_at"))["at"],
        Round.objects.aggregate(at=Max("opened_at"))["at"],
        Task.objects.aggregate(at=Max("reported_at"))["at"],
        Blob.objects.aggregate(at=Max("seen_at"))["at"],
    ]
    latest = max((at for at in newest if at is not None), default=None)
    if latest is not None and latest > now + timedelta(seconds=SKEW_SECONDS):
        yield error(
            "clock",
            f"the newest rows are from {latest:%Y-%m-%d %H:%M:%S} UTC; this machine says {now:%Y-%m-%d %H:%M:%S}",
            "a clock that does not go back",
            f"{SET_CLOCK}; leases and deadlines that were given meanwhile end when that time has come",
        )
    else:
        yield well("clock", f"{now:%Y-%m-%d %H:%M:%S} UTC; no row is from the future")


def rows() -> Iterator[Finding]:
    """Everything below, and one line if all is well."""
    found = list(_rows())
    trainings, rounds = Training.objects.count(), Round.objects.count()
    sane = f"{counted(trainings, 'training')}, {counted(rounds, 'round')}: what they say agrees"
    yield from found or [well("rows", sane)]


def _rows() -> Iterator[Finding]:
    leases = Task.objects.filter(state=TaskState.LEASED.value).exclude(round__state__in=LIVE)
    yield from _none(leases.count(), "lease", "in rounds that are over")
    stale = Round.objects.filter(state__in=LIVE, training__status__in=OVER)
    yield from _none(stale.count(), "live round", "of trainings that are over")
    ahead = Training.objects.filter(rounds__state=RoundState.DONE.value, rounds__number__gt=F("rounds_done"))
    yield from _none(ahead.distinct().count(), "training", "with more rounds done than counted")
    rootless = ModelVersion.objects.filter(number__gt=0, parent=None, round_of__isnull=False)
    yield from _none(rootless.count(), "version", "of a round, without the version that it was made from")
    with_file = (TaskKind.TRAIN.value, TaskKind.SWAG.value)
    empty = Task.objects.filter(state=TaskState.REPORTED.value, kind__in=with_file, update=None)
    yield from _none(empty.count(), "report", "without the update that was reported")
    made = Round.objects.filter(state__in=(RoundState.AGGREGATED.value, RoundState.EVALUATING.value), version=None)
    yield from _none(made.count(), "aggregated round", "without a version")
    wrong = [f"{row.training}, {row}" for row in _lists_that_do_not_add_up()]
    yield from _none(len(wrong), "accepted list", f"that differs from the updates ({listed(wrong)})")


def _none(number: int, what: str, where: str) -> Iterator[Finding]:
    if number:
        yield error("rows", f"{counted(number, what)} {where}", "none", REPORT)


def _lists_that_do_not_add_up() -> Iterator[Round]:
    """Rounds whose accepted list names another update than their client's."""
    closed = Round.objects.filter(accepted__isnull=False).exclude(state=RoundState.ABANDONED.value)
    for row in closed.select_related("training").iterator(chunk_size=200):
        kept = row.tasks.filter(Q(kind=TaskKind.TRAIN.value), update__isnull=False)
        digests = dict(kept.values_list("participation__ordinal", "update__digest"))
        if any(digests.get(ordinal) != digest for ordinal, digest, _ in row.accepted or []):
            yield row
