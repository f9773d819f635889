"""What a training's clients measured, round by round, as a viewer may know it.

Whoever steers a training sees means and extremes, and what each client measured. Everybody else who sees it sees means
over three clients and more: the ends of a spread are single clients' values, and means of fewer give them away
(`discretion`). So does a mean that is watched while one report after the other comes in: of a round that goes on they
see nothing. What somebody measured as a client of the training is their own to see.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

import msgspec
from django.db.models import BigAutoField, QuerySet, TextField, UUIDField
from django.db.models.functions import Cast

from hansa.protocol import trainings as wire
from hansa.protocol.tasks import TaskKind
from hansa.server.accounts.models import User
from hansa.server.lifecycle.errors import NotFoundError
from hansa.server.prepared import Rows, Slot
from hansa.server.registry.models import Calibration, Metric
from hansa.server.trainings import discretion, summaries
from hansa.server.trainings.models import Participation, Round, Task, Training, Update
from hansa.server.trainings.selectors import training_of

Name = tuple[str, str]
"""Of a metric: the kind of task it was measured in, and its key."""
Values = Mapping[int, float]
"""By round."""


class Measured(NamedTuple):
    """One metric in one round, as far as the viewer may know it."""

    mean: float | None
    """None: it is of so few that another client's value would be known from it."""
    minimum: float | None
    maximum: float | None
    clients: int


@dataclass(frozen=True, slots=True)
class Sight:
    """What a viewer may know of the measurements of a training."""

    fewest: int
    """Of how many clients a mean is at least that is told."""
    extremes: bool
    """Whether the least and the most are told: each is one client's value."""
    own: Mapping[Name, Values]
    """What the viewer measured."""

    def of(self, name: Name, number: int, row: summaries.Figures) -> Measured:
        """A metric as it was written down in `Round.measured`."""
        if self.extremes:
            return Measured(*row)
        mean, _, _, clients = row
        if name[0] == summaries.OF_UPDATES:  # every norm is its client's own affair
            return Measured(None, None, None, clients)
        of_itself = clients == 1 and number in self.own.get(name, ())
        return Measured(mean if of_itself or clients >= self.fewest else None, None, None, clients)


def sight(viewer: User, training: Training) -> Sight:
    """Of a training that the viewer may see."""
    fewest = discretion.fewest(viewer, training.actor_id)
    if fewest == 1:
        return Sight(fewest, extremes=True, own={})
    part = _parts_of(training).filter(client=viewer).first()
    return Sight(fewest, extremes=False, own={} if part is None else measured_by(part))


def _parts_of(training: Training) -> QuerySet[Participation]:
    return Participation.objects.filter(training=training).select_related("training")


def measured_by(participation: Participation) -> Mapping[Name, Values]:
    """What one client measured, and what was of its updates, in rounds that made a version."""
    found: dict[Name, dict[int, float]] = defaultdict(dict)
    for kind, metrics, number in _OF_ONE(participation=participation.id):
        for key, value in _REPORTED.decode(metrics).items():
            found[kind, key][number] = value
    for number, norm, cosine, factor in _SENT_BY_ONE(participation=participation.id):
        for key, of_it in (("norm", norm), ("cosine", cosine), ("weight", factor)):
            if of_it is not None:
                found[summaries.OF_UPDATES, key][number] = of_it
    return {**found, **_covered(participation)}


def _covered(participation: Participation) -> Mapping[Name, Values]:
    """How often sets of each level hold the truth for the client."""
    found: dict[Name, dict[int, float]] = defaultdict(dict)
    if participation.training.parsed_plan.uncertainty.calibration.scores is not None:
        told = Metric.objects.filter(model=participation.training.model_id, reporter=participation.client_id)
        of_levels = told.filter(key__startswith=summaries.COVERAGE, value__isnull=False)
        for key, number, share in of_levels.values_list("key", "step", "value"):
            found[TaskKind.CALIBRATE.value, key][number] = share or 0.0
    return found


def looked_at(viewer: User, training: Training, client: str) -> Participation:
    """The participant of that name. Raises NotFoundError for one that is none, or not the viewer's to look at."""
    theirs = _parts_of(training).filter(client__username=client)
    if training.actor_id != viewer.id and not viewer.is_superuser:
        theirs = theirs.filter(client=viewer)
    found = theirs.first()
    if found is None:
        raise NotFoundError(f"{client!r} is no participant of this training whose measurements are yours to see.")
    return found


def by_round(training: Training, seen: Sight) -> Iterator[tuple[int, int, summaries.Measured]]:
    """Of each round that made a version its number, the version's, and what was measured: of one that goes on what came
    so far, for who may know each value of it.
    """
    for number, version, measured in _MADE(training=training.id):
        if measured is not None:
            yield number, version, _WRITTEN.decode(measured)
        else:
            yield number, version, _reckoned(training, number) if seen.extremes else _NOTHING_YET


def _reckoned(training: Training, number: int) -> summaries.Measured:
    made = Round.objects.filter(training=training, number=number, version__isnull=False)
    return summaries.reckoned(made.select_related("training").get())


def calibrations(viewer: User, training: Training) -> Iterator[tuple[int, str, float, int]]:
    """Of each version that was calibrated its round, a number by name, and the clients whose reports that came to."""
    wanted = training.parsed_plan.uncertainty.calibration
    if not wanted.temperature and wanted.scores is None:
        return
    fewest = discretion.fewest(viewer, training.actor_id)
    known = Calibration.objects.filter(version__round_of__training=training).order_by("version__round_of__number")
    for number, clients, score_clients, temperature, ece, ece_tempered in known.values_list(
        "version__round_of__number", "clients", "score_clients", "temperature", "ece", "ece_tempered"
    ):
        told = (
            ("temperature", temperature, clients),
            ("ece", ece, clients),
            ("ece_tempered", ece_tempered, score_clients),
        )
        yield from ((number, name, value, of) for name, value, of in told if value is not None and of >= fewest)


def metrics(viewer: User, training_id: UUID) -> list[wire.RoundMetrics]:
    """Every metric of every round that made a version. Raises NotFoundError as `training_of`."""
    training = training_of(viewer, training_id)
    seen = sight(viewer, training)

    def told(number: int, kind: TaskKind, measured: summaries.Measured) -> dict[str, wire.Spread]:
        each = {key: seen.of((kind.value, key), number, row) for key, row in measured[kind.value].items()}
        return {key: wire.Spread(**found._asdict()) for key, found in each.items()}

    return [
        wire.RoundMetrics(
            round=number,
            version=version,
            train=told(number, TaskKind.TRAIN, measured),
            evaluate=told(number, TaskKind.EVALUATE, measured),
        )
        for number, version, measured in by_round(training, seen)
    ]


_NOTHING_YET: summaries.Measured = {kind.value: {} for kind in summaries.MEASURING}
_WRITTEN = msgspec.json.Decoder(summaries.Measured)
"""Of `Round.measured`. PostgreSQL gives large floats of JSON back as whole numbers: here they are floats again."""
_REPORTED = msgspec.json.Decoder(dict[str, float])
"""Of `Task.metrics`."""
_MADE = Rows(
    lambda: (
        Round.objects.filter(training=Slot("training", UUIDField()), version__isnull=False)
        .order_by("number", "attempt")
        .values_list("number", "version__number", Cast("measured", TextField()))
    )
)
_OF_ONE = Rows(
    lambda: (
        Task.objects.filter(summaries.CAME, participation=Slot("participation", BigAutoField()))
        .filter(round__version__isnull=False, kind__in=[kind.value for kind in summaries.MEASURING])
        .order_by("round__number", "round__attempt")
        .values_list("kind", Cast("metrics", TextField()), "round__number")
    )
)
_SENT_BY_ONE = Rows(
    lambda: (
        Update.objects.filter(task__participation=Slot("participation", BigAutoField()))
        .filter(task__kind=TaskKind.TRAIN.value, task__round__version__isnull=False)
        .order_by("task__round__number", "task__round__attempt")
        .values_list("task__round__number", "norm", "cosine", "factor")
    )
)
