"""What the rows say about the server as a whole, as Prometheus gauges: counted anew for each scrape, a query each."""

import asyncio
import logging
import shutil
from collections.abc import Iterable, Mapping
from typing import Final

from django.db import Error as DatabaseError
from django.db.models import Count, QuerySet, Sum
from prometheus_client.core import GaugeMetricFamily, Metric

from hansa.rounds.states import LIVE_ROUND_STATES, RoundState, TaskState, TrainingStatus
from hansa.server.blobs import store
from hansa.server.blobs.models import Blob
from hansa.server.lifecycle.bridge import read, work
from hansa.server.notifications.models import Notification, State
from hansa.server.ops.questions import Question
from hansa.server.trainings.models import Round, Task, Training

log = logging.getLogger(__name__)


async def gauges() -> list[Metric]:
    """All of them, but for those of what gives no answer in time; of the database `hansa_database_up` tells that."""
    disk, counted = await asyncio.gather(_DISK.answer(), _ROWS.answer())
    return [*disk, _single("hansa_database_up", "Whether the database answers.", 1 if counted else 0), *counted]


async def _ask_disk() -> list[Metric]:
    try:
        disk = await work(shutil.disk_usage, store.home())
    except OSError as error:
        log.debug("The disk of the blobs cannot be asked: %s", error)
        return []
    return [
        _single("hansa_disk_free_bytes", "Free on the disk of the blobs.", disk.free),
        _single("hansa_disk_size_bytes", "Size of the disk of the blobs.", disk.total),
    ]


async def _ask_rows() -> list[Metric]:
    try:
        return await read(_count)
    except DatabaseError as error:
        log.debug("The database does not answer: %s", error)
        return []


_DISK: Final[Question[list[Metric]]] = Question(_ask_disk, unanswered=[])
_ROWS: Final[Question[list[Metric]]] = Question(_ask_rows, unanswered=[])


def _count() -> list[Metric]:
    live = Task.objects.filter(round__state__in=[state.value for state in LIVE_ROUND_STATES])
    blobs = Blob.objects.aggregate(count=Count("sha256"), size=Sum("size"))
    pending = Notification.objects.filter(state=State.PENDING).count()
    return [
        _by("hansa_trainings", "Trainings.", "status", TrainingStatus, _grouped(Training.objects.all(), "status")),
        _by("hansa_rounds", "Attempts at rounds.", "state", RoundState, _grouped(Round.objects.all(), "state")),
        _by("hansa_tasks", "Tasks of rounds that go on.", "state", TaskState, _grouped(live, "state")),
        _single("hansa_notifications_pending", "Messages to push clients that are still to be told.", pending),
        _single("hansa_blobs", "Files in the store.", blobs["count"]),
        _single("hansa_blobs_bytes", "Bytes in the store.", blobs["size"] or 0),
    ]


def _grouped(rows: "QuerySet[Training] | QuerySet[Round] | QuerySet[Task]", field: str) -> dict[str, int]:
    return dict(rows.order_by().values_list(field).annotate(Count("id")))


def _by(name: str, text: str, label: str, states: Iterable[str], counts: Mapping[str, int]) -> Metric:
    """One sample for each state that there can be, so that none is missing where there is nothing to count."""
    family = GaugeMetricFamily(name, text, labels=[label])
    for state in states:
        family.add_metric([str(state)], counts.get(str(state), 0))
    return family


def _single(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)
