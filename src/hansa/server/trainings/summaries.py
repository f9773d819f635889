"""What the clients of a round measured, as mean and spread: reckoned once, when the round is done, and kept with it.

Curves of a thousand rounds of five hundred clients are then a thousand rows, and not a million. A report that comes
late to a round that is done has its round reckoned anew.
"""

from collections.abc import Iterable, Mapping
from typing import Final
from uuid import UUID

from django.db.models import F, Q

from hansa.protocol.tasks import TaskKind
from hansa.protocol.trainings import Spread
from hansa.rounds.states import RoundState, TaskState
from hansa.server.trainings.models import Round, Task

Spreads = Mapping[str, Spread]
"""By the metric's name."""
MEASURING: Final = (TaskKind.TRAIN, TaskKind.EVALUATE)
PREFERRED: Final = ("accuracy", "loss")
CAME: Final = Q(state=TaskState.REPORTED.value) | Q(state=TaskState.CLOSED.value, update__isnull=False)
"""Tasks whose reports were accepted, in time or late."""


def summary(tasks: Iterable[Task]) -> dict[str, Spreads]:
    """Of tasks that came, for each kind that measures."""
    rows = list(tasks)
    return {kind.value: spreads([row for row in rows if row.kind == kind.value]) for kind in MEASURING}


def spreads(tasks: list[Task]) -> Spreads:
    """Each metric that any of them has."""
    return {key: _spread(tasks, key) for key in sorted({key for task in tasks for key in task.metrics})}


def _spread(tasks: list[Task], key: str) -> Spread:
    values = [(task.measured[key], task.num_examples or 1) for task in tasks if key in task.metrics]
    examples = sum(count for _, count in values)
    return Spread(
        # By shares: the sum of what clients may report is not always a float64.
        mean=sum(value * (count / examples) for value, count in values),
        minimum=min(value for value, _ in values),
        maximum=max(value for value, _ in values),
        clients=len(values),
    )


def keep(of: Round) -> None:
    """Write it down. Within the change that ends the round, or that brings a late report."""
    came = Task.objects.filter(CAME, round=of, kind__in=[kind.value for kind in MEASURING])
    found = summary(came.only("kind", "metrics", "num_examples", "round_id"))
    Round.objects.filter(id=of.id).update(
        measured={
            kind: {key: [spread.mean, spread.minimum, spread.maximum, spread.clients] for key, spread in each.items()}
            for kind, each in found.items()
        }
    )


def headline(training: UUID, rounds: int, most: int = 60) -> tuple[str, list[float]] | None:
    """The metric that says most, and its mean after at most so many of the rounds that are done, the last among them.

    What clients tested goes before what they saw while they trained, accuracy before loss, and both before the others.
    """
    step = max(1, -(-rounds // most))
    done = Round.objects.filter(training=training, measured__isnull=False, state=RoundState.DONE.value)
    kept_some = done.annotate(place=(rounds - F("number")) % step).filter(place=0).order_by("number")
    found = [measured for measured in kept_some.values_list("measured", flat=True) if measured is not None]
    names = {(kind, key) for measured in found[-1:] for kind in measured for key in measured[kind]}
    if not names:
        return None
    kind, key = min(names, key=preference)
    return key, [float(each[kind][key][0]) for each in found if key in each.get(kind, {})]


def preference(name: tuple[str, str]) -> tuple[bool, int, str]:
    """The order in which metrics, named by kind and key, are shown."""
    kind, key = name
    place = next((index for index, word in enumerate(PREFERRED) if key.startswith(word)), len(PREFERRED))
    return kind != TaskKind.EVALUATE.value, place, key


def kept(of: Round) -> dict[str, Spreads]:
    """As it was written down; of a round that goes on, or that an older server ended, reckoned from its tasks."""
    if of.measured is None:
        return summary(of.tasks.filter(CAME))
    return {
        kind: {
            # PostgreSQL gives large floats of JSON back as whole numbers.
            key: Spread(mean=float(mean), minimum=float(least), maximum=float(most), clients=clients)
            for key, (mean, least, most, clients) in each.items()
        }
        for kind, each in of.measured.items()
    }
