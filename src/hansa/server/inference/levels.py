"""Sets and intervals that hold the truth as often as is asked, of versions that their clients have calibrated.

The scores were counted by the clients, of one pass of the version under its temperature; they hold for answers made the
same way, and for no others.
"""

import hashlib
from dataclasses import dataclass
from uuid import UUID

import numpy as np
from django.db.models import QuerySet

from hansa.core.params import Array
from hansa.server.inference.errors import ImpossibleError
from hansa.server.lifecycle.errors import InvalidError
from hansa.server.registry import calibrations
from hansa.server.registry.models import Calibration, Model, ModelVersion
from hansa.uncertainty import conformal
from hansa.uncertainty.conformal import Threshold, Unbounded
from hansa.uncertainty.probabilities import Floats
from hansa.uncertainty.scores import Rule

MEANING = (
    "Of new examples at least {level:g} are in their set or interval, on average over such examples and over the "
    "calibration data, if they come from the clients as the calibration data did: with probability (n_k + 1) / (n + K) "
    "exchangeable with that of client k (Lu et al. 2023, arXiv:2305.17564, section 4)."
)
NOT_PROMISED = (
    "Not promised: the level for each client, class or input; nor where clients have trained on their calibration "
    "data, or where the data has changed since."
)
FITTED = (
    "The temperature was fitted to the clients' evaluation data. Where that is their calibration data as well, the "
    "scores are not quite exchangeable with new ones, and the level is that much less certain."
)
EMPTY = "An empty set is a miss that the level allows for: no class suits its input well enough."


@dataclass(frozen=True, slots=True)
class Level:
    """How often the truth shall be held, and what was calibrated for it."""

    asked: float
    rule: Rule
    limit: Threshold
    tempered: bool
    seed: int = 0
    """Of the dice, which are another for each input."""


@dataclass(frozen=True, slots=True)
class Held:
    """What holds the truth: classes, or numbers from `low` to `high`."""

    level: Level
    members: Array | None = None
    """(B, C) bool."""
    low: Array | None = None
    high: Array | None = None

    @property
    def assumptions(self) -> list[str]:
        """What the level rests on, and what is not promised."""
        limit = self.level.limit
        said = [MEANING.format(level=self.level.asked), NOT_PROMISED]
        if self.level.tempered:
            said.append(FITTED)
        if limit.unbounded is Unbounded.TOO_FEW:
            needed = conformal.examples_needed(limit.clients, limit.alpha)
            said.append(f"There is no end to them: {limit.unbounded}. {limit.examples} are there; {needed} are needed.")
        elif limit.unbounded is not None:
            said.append(f"There is no end to them: {limit.unbounded}.")
        if self.members is not None and not self.members.any(axis=1).all():
            said.append(EMPTY)
        return said


def newest_scored(model: Model) -> ModelVersion | None:
    """The version that is asked at a level where none is named."""
    return _with_scores(model.id).order_by("-number").first()


def _with_scores(model_id: UUID) -> QuerySet[ModelVersion]:
    return ModelVersion.objects.filter(model_id=model_id, lost="", calibration__rule__gt="").select_related("blob")


def level_of(row: ModelVersion, known: Calibration | None, asked: float, seed: int) -> Level:
    """The level for a version. Raises ImpossibleError where its clients told no scores."""
    sketch = None if known is None else calibrations.sketch_of(known)
    if known is None or sketch is None:
        others = _with_scores(row.model_id).order_by("number").values_list("number", flat=True)
        if listed := ", ".join(map(str, others)):
            instead = f"There are scores of version {listed}: ask for one that has."
        else:
            instead = "Train with a plan whose uncertainty.calibration.scores is lac, aps or residual."
        raise ImpossibleError(
            f"Version {row.number} has no scores of clients; no level can be kept. {instead} Or ask without 'level'.",
            about="level",
        )
    alpha = float(f"{1 - asked:.12g}")
    limit = conformal.pooled_threshold(sketch, known.score_clients, alpha)
    return Level(asked, Rule(known.rule), limit, known.temperature is not None, seed)


def held(outputs: Floats, level: Level) -> Held:
    """Sets, of probabilities (B, C); or intervals around values (B, …), all of one input's at once.

    Raises InvalidError for outputs of another shape.
    """
    if level.rule is Rule.RESIDUAL:
        flat = outputs.reshape(len(outputs), -1)
        found = conformal.intervals(flat, level.limit)
        return Held(level, low=found.low.reshape(outputs.shape), high=found.high.reshape(outputs.shape))
    if outputs.ndim != 2:
        raise InvalidError(
            f"The outputs have shape {list(outputs.shape)}; sets are made of one row of classes for each input. Ask "
            "without 'level'."
        )
    scores = level.rule.of_classes(outputs, _dice(outputs, level.seed))
    return Held(level, members=conformal.prediction_sets(scores, level.limit).members)


def _dice(probabilities: Floats, seed: int) -> Floats:
    """One for each input, from what was made of it: the same question has the same answer, and others other dice."""
    rows = (hashlib.sha256(seed.to_bytes(8, "big") + row.tobytes()).digest() for row in probabilities)
    return np.array([int.from_bytes(digest[:6], "big") / 2**48 for digest in rows])
