"""Who depends on which blob, and which blobs the trainings that run cannot do without. Reads only."""

from collections.abc import Iterable, Iterator, Sequence
from uuid import UUID

from django.db.models import Max, OuterRef, Q, QuerySet, Subquery

from hansa.protocol.tasks import TaskKind
from hansa.rounds.states import LIVE_ROUND_STATES, RoundState, TaskState, TrainingStatus
from hansa.server.blobs.inspection import Known
from hansa.server.blobs.models import Blob
from hansa.server.registry.models import ModelVersion
from hansa.server.trainings.models import Round, Task, Training, Update

BATCH = 500
RUNNING = (TrainingStatus.ONGOING.value, TrainingStatus.PAUSED.value)


def with_results(digest: str) -> list[UUID]:
    """The trainings in which a client has sent these bytes."""
    return list(Training.objects.filter(_sent(digest)).order_by("id").values_list("id", flat=True).distinct())


def having(digest: str) -> list[UUID]:
    """The trainings of which these bytes are a part: sent by a client, or a version's."""
    made = Q(model__versions__blob=digest) | Q(model__versions__moments=digest) | Q(model__versions__state=digest)
    return list(Training.objects.filter(_sent(digest) | made).order_by("id").values_list("id", flat=True).distinct())


def _sent(digest: str) -> Q:
    return Q(rounds__tasks__uploaded=digest) | Q(rounds__tasks__update__blob=digest)


def made_of(digest: str) -> list[tuple[Round, TaskKind]]:
    """The rounds whose version, its moments, or what its server step remembers, is this blob: what it may be computed
    from again.
    """
    rounds = Round.objects.select_related("training__model", "version")
    of_version = Q(version__blob=digest) | Q(version__state=digest)
    made = [(row, TaskKind.TRAIN) for row in rounds.filter(of_version)]
    return [*made, *((row, TaskKind.SWAG) for row in rounds.filter(version__moments=digest))]


def needing(digest: str) -> list[tuple[UUID, ModelVersion]]:
    """The trainings that run and go on from this blob: it is their newest version, or what its step remembers."""
    parts = ("round_of__base__blob", "round_of__training", "blob")
    versions = newest_versions().filter(Q(blob=digest) | Q(state=digest)).select_related(*parts)
    found = {version.model_id: version for version in versions}
    trainings = Training.objects.filter(model__in=found, status__in=RUNNING).order_by("id")
    return [(training.id, found[training.model_id]) for training in trainings]


def newest_versions() -> QuerySet[ModelVersion]:
    """Of every model whose training runs, the version that comes next to be trained from."""
    standing = ModelVersion.objects.filter(model=OuterRef("model"), lost="").order_by().values("model")
    newest = standing.annotate(newest=Max("number")).values("newest")
    return ModelVersion.objects.filter(model__training__status__in=RUNNING, lost="", number=Subquery(newest))


def indispensable() -> list[str]:
    """The digests of what the trainings that run need: first what live rounds count on, then the newest versions with
    what their server steps remember.

    Updates that a plan keeps once they have counted are none of it.
    """
    live = [state.value for state in LIVE_ROUND_STATES]
    tasks = Task.objects.filter(round__state__in=live, uploaded__isnull=False)
    sent = Update.objects.filter(task__round__state__in=live)
    sent_on = Update.objects.filter(sent_to__round__state__in=live)
    late = Update.objects.filter(folded_into__state__in=live)
    closed = Q(task__state=TaskState.CLOSED.value, task__round__state=RoundState.DONE.value, folded_into=None)
    waiting = Update.objects.filter(closed, task__round__training__status__in=RUNNING)
    needed = [
        tasks.values_list("uploaded_id", flat=True),
        *(each.filter(blob__isnull=False).values_list("blob_id", flat=True) for each in (sent, sent_on, late, waiting)),
        newest_versions().values_list("blob_id", flat=True),
        newest_versions().values_list("state_id", flat=True),
    ]
    return list(dict.fromkeys(digest for rows in needed for digest in rows.order_by().iterator() if digest is not None))


def known(digests: Iterable[str | None]) -> list[Known]:
    """What is recorded of these blobs, in their order; without those that are gone."""
    wanted = [digest for digest in digests if digest is not None]
    found = {}
    for batch in batched(wanted):
        found.update(Blob.objects.in_bulk(batch))
    return [Known.of(found[digest]) for digest in wanted if digest in found]


def batched(digests: Sequence[str]) -> Iterator[Sequence[str]]:
    """Few enough at a time for one query, and for one thread to look at without keeping others waiting."""
    return (digests[start : start + BATCH] for start in range(0, len(digests), BATCH))
