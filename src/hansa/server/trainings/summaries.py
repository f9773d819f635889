"""What the clients of a round measured, as mean and spread: reckoned once, when the round is done, and kept with it.

Curves of a thousand rounds of five hundred clients are then a thousand rows, and not a million. A report that comes
late to a round that is done has its round reckoned anew.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Final
from uuid import UUID

from django.db.models import Q

from hansa.protocol.tasks import TaskKind
from hansa.rounds.states import RoundState, TaskState
from hansa.server.registry.models import Metric
from hansa.server.trainings import selectors
from hansa.server.trainings.models import Round, Task, Update

Figures = tuple[float, float, float, int]
"""Of one metric over the clients of a round: mean, minimum, maximum, clients."""
Measured = Mapping[str, Mapping[str, Figures]]
"""By kind and metric."""
MEASURING: Final = (TaskKind.TRAIN, TaskKind.EVALUATE)
OF_UPDATES: Final = "update"
"""Stands for a kind of what is measured: norm, cosine and weight of the updates, by the server."""
ORDER: Final = (TaskKind.EVALUATE.value, TaskKind.TRAIN.value, TaskKind.CALIBRATE.value, OF_UPDATES)
PREFERRED: Final = ("accuracy", "loss")
COVERAGE: Final = "coverage_"
"""How the metrics of a CALIBRATE task begin: how often sets of a level hold the truth for one client."""
CAME: Final = Q(state=TaskState.REPORTED.value) | Q(state=TaskState.CLOSED.value, update__isnull=False)
"""Tasks whose reports were accepted, in time or late."""


def keep(of: Round) -> None:
    """Write it down. Within the change that ends the round, or that brings a late report."""
    Round.objects.filter(id=of.id).update(measured=reckoned(of))


def reckoned(of: Round) -> Measured:
    """From the tasks that came, for each kind that measures, each metric that any of them has; and of the updates."""
    came = Task.objects.filter(CAME, round=of.id, kind__in=[kind.value for kind in MEASURING])
    rows = list(came.only("kind", "metrics", "num_examples", "round_id"))
    found = {kind.value: _over_clients([row for row in rows if row.kind == kind.value]) for kind in MEASURING}
    more = {TaskKind.CALIBRATE.value: _coverage(of), OF_UPDATES: _of_updates(of)}
    return {**found, **{kind: each for kind, each in more.items() if each}}


def _coverage(of: Round) -> Mapping[str, Figures]:
    if of.training.parsed_plan.uncertainty.calibration.scores is None:
        return {}
    told = Metric.objects.filter(model=of.training.model_id, step=of.number, key__startswith=COVERAGE)
    values: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for key, value, examples in told.exclude(value=None).order_by("key").values_list("key", "value", "num_examples"):
        values[key].append((value or 0.0, examples))
    return {key: _weighted(each) for key, each in values.items()}


def _of_updates(of: Round) -> Mapping[str, Figures]:
    """Norm, cosine and weight of the updates that came in time, each update counted alike."""
    in_time = Update.objects.filter(
        task__round=of, task__kind=TaskKind.TRAIN.value, task__state=TaskState.REPORTED.value
    )
    shares = selectors.shares_in(of.training, of)[TaskKind.TRAIN.value]
    values: dict[str, list[tuple[float, int]]] = defaultdict(list)
    rows = in_time.order_by("task__participation__ordinal")
    for ordinal, norm, cosine, factor in rows.values_list("task__participation__ordinal", "norm", "cosine", "factor"):
        weight = factor if shares is None else shares.get(ordinal)
        for name, value in (("norm", norm), ("cosine", cosine), ("weight", weight)):
            if value is not None and isfinite(value):  # the norm of the largest params that are taken is not
                values[name].append((value, 1))
    return {name: _weighted(each) for name, each in values.items()}


def _over_clients(tasks: Sequence[Task]) -> Mapping[str, Figures]:
    return {
        key: _weighted([(task.measured[key], task.num_examples or 1) for task in tasks if key in task.metrics])
        for key in sorted({key for task in tasks for key in task.metrics})
    }


def _weighted(values: Sequence[tuple[float, int]]) -> Figures:
    """The mean is weighted by examples; by shares, for the sum of what clients may report is not always a float64."""
    examples = sum(count for _, count in values)
    alone = [value for value, _ in values]
    return sum(value * (count / examples) for value, count in values), min(alone), max(alone), len(alone)


@dataclass(frozen=True, slots=True)
class Line:
    """The metric of a training that says most."""

    key: str
    rounds: Sequence[int]
    """Some of those that are done, at least one, the last among them."""
    values: Sequence[float]
    """Its mean over the clients in each of them."""


def headlines(of: Mapping[UUID, tuple[int, int]], *, most: int = 60) -> Mapping[UUID, Line]:
    """Of trainings, for which it is said how many rounds are done and of how many clients a mean is at least that may
    be told: the metric that says most, after at most so many rounds. Those that have none are left out. One query.

    What clients tested goes before what they saw while they trained, accuracy before loss, and both before the others.
    """
    wanted = Q()
    for training, (rounds, _) in of.items():
        wanted |= Q(training=training, number__in=range(rounds, 0, -max(1, -(-rounds // most))))
    if not wanted:
        return {}
    done = Round.objects.filter(wanted, measured__isnull=False, state=RoundState.DONE.value).order_by("number")
    found: dict[UUID, list[tuple[int, Measured]]] = defaultdict(list)
    for training, number, measured in done.values_list("training_id", "number", "measured"):
        found[training].append((number, measured or {}))
    lines = {training: _line(rows, of[training][1]) for training, rows in found.items()}
    return {training: line for training, line in lines.items() if line is not None}


def _line(rounds: Sequence[tuple[int, Measured]], fewest: int) -> Line | None:
    names = means(rounds[-1][1], fewest)
    if not names:
        return None
    name = min(names, key=preference)
    told = [(number, mean) for number, each in rounds if (mean := means(each, fewest).get(name)) is not None]
    return Line(name[1], [number for number, _ in told], [mean for _, mean in told])


def means(measured: Measured, fewest: int) -> Mapping[tuple[str, str], float]:
    """By kind and metric, the means of at least so many clients, of what was written down in `Round.measured` of tasks
    that measure.
    """
    return {
        (kind.value, key): float(mean)
        for kind in MEASURING
        for key, (mean, _, _, clients) in measured.get(kind.value, {}).items()
        if clients >= fewest
    }


def preference(name: tuple[str, str]) -> tuple[int, int, str]:
    """The order in which metrics, named by kind and key, are shown."""
    kind, key = name
    place = next((index for index, word in enumerate(PREFERRED) if key.startswith(word)), len(PREFERRED))
    return ORDER.index(kind) if kind in ORDER else len(ORDER), place, key
