"""What a training's clients measured, round by round, as curves: of all of them, and of one that is looked at.

Who may know what of it is `measurements`' to say. Where the viewer may not know a mean, its own value stands for it;
and where it has none either, there is no point.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hansa.server.accounts.models import User
from hansa.server.dashboard.charts import Point
from hansa.server.trainings import measurements, summaries
from hansa.server.trainings.measurements import Name, Values
from hansa.server.trainings.models import Training

OF_VERSIONS: Final = "version"
"""Stands for a kind of what is measured: the calibration of the versions, which is reckoned of all clients' reports."""


@dataclass(frozen=True, slots=True)
class Series:
    """One metric."""

    kind: str
    key: str
    points: Sequence[Point]
    """By ascending round."""
    own: Values
    """Of the client that is looked at; empty where none is."""
    spread: bool = True
    """Whether the points' ends are the viewer's to see; if not, they are the mean."""


def series(user: User, training: Training, client: str = "") -> Sequence[Series]:
    """Every metric, those that say most first. Raises NotFoundError as `measurements.looked_at`."""
    seen = measurements.sight(user, training)
    points: dict[Name, list[Point]] = defaultdict(list)
    for number, _, measured in measurements.by_round(training, seen):
        for kind, each in measured.items():
            for key, row in each.items():
                name = kind, key
                mean, low, high, clients = seen.of(name, number, row)
                if mean is None:
                    mean, clients = seen.own.get(name, {}).get(number), 1
                if mean is not None:
                    ends = mean if low is None else low, mean if high is None else high
                    points[name].append(Point(number, mean, *ends, clients))
    for number, key, value, clients in measurements.calibrations(user, training):
        points[OF_VERSIONS, key].append(Point(number, value, value, value, clients))
    own = _of_one(user, training, client, seen) if client else {}
    return [
        Series(*name, points[name], own.get(name, {}), spread=seen.extremes)
        for name in sorted(points, key=summaries.preference)
    ]


def _of_one(user: User, training: Training, client: str, seen: measurements.Sight) -> dict[Name, Values]:
    if client == user.username and seen.own:
        return dict(seen.own)  # was read already
    return dict(measurements.measured_by(measurements.looked_at(user, training, client)))
