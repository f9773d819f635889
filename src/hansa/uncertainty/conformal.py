"""Sets and intervals that hold the truth as often as was asked, calibrated across clients whose data stays with them.

Federated split conformal prediction: Lu et al. 2023, arXiv:2305.17564, section 4. K clients hold n₁ … n_K calibration
scores, n in all. A set holds every answer with a score at or below the threshold, which is the score of rank

    r = ⌈(1 - alpha)·(n + K)⌉    of the n pooled ones, infinite where r > n

**What is promised.** Coverage of at least 1 - alpha for a new example that is, with probability (n_k + 1) / (n + K) for
each client k, exchangeable with the calibration examples of that client: on average over such examples and over the
calibration data. *Not* for each client, each class or each input (coverage per client is counted, `Coverage`, and not
promised), nor where the model was trained on the calibration examples, or the data has changed since.

Why: give each client one more exchangeable score, n + K in all. A share of r / (n + K) ≥ 1 - alpha of these or more is
at or below their own r-th, and so large is the chance of a new one; any n of them have an r-th that is no smaller.

**The sketch keeps it.** Scores come as counts of cells, and the threshold is the upper edge of the cell that holds
rank r. That is exactly the threshold for the score "rounded up to the grid", to which all of the above applies: the
level need not be raised for the sketch's error. What it costs is told as `excess`: so many more than r scores are
covered.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hansa.uncertainty.probabilities import Floats, floats
from hansa.uncertainty.reports import ReportError, check_whole
from hansa.uncertainty.scores import positive
from hansa.uncertainty.sketches import Sketch, edges, merged, quantile


class Unbounded(StrEnum):
    """Why a threshold is infinite, and so every set holds all classes and every interval all numbers."""

    TOO_FEW = "too few calibration examples for this level"
    BEYOND_GRID = "scores larger than the grid"


@dataclass(frozen=True, slots=True)
class Threshold:
    """Up to which score answers are in the set: `value`, None where `unbounded` says why there is no end.

    `alpha` is the share that may miss, `rank` that of the score among `examples` of `clients`; `excess` scores of a
    higher rank lie at or below the value too, which is about excess / examples too much coverage.
    """

    value: float | None
    alpha: float
    rank: int
    examples: int
    clients: int
    excess: int = 0
    unbounded: Unbounded | None = None

    @property
    def bound(self) -> float:
        """The value to compare scores with: infinite without one, for which JSON has no word."""
        return math.inf if self.value is None else self.value


@dataclass(frozen=True, slots=True, eq=False)
class PredictionSets:
    """Which classes each input may have: (n, C) bool."""

    members: NDArray[np.bool_]

    @property
    def sizes(self) -> NDArray[np.int64]:
        """The number of classes of each set, (n,)."""
        return np.asarray(self.members.sum(axis=1), np.int64)

    @property
    def empty(self) -> NDArray[np.bool_]:
        """(n,) The inputs that no class suits well enough.

        An empty set counts as a miss, which the level allows for: its input is unlike what the model was calibrated
        with, or among the hardest.
        """
        return np.asarray(~self.members.any(axis=1), np.bool_)


@dataclass(frozen=True, slots=True, eq=False)
class Intervals:
    """What each output may be: from `low` to `high`, in the shape of the predictions; -inf to inf when unbounded."""

    low: Floats
    high: Floats


@dataclass(frozen=True, slots=True)
class Coverage:
    """How often sets or intervals held the truth, of one client or of all. Raises ReportError when impossible.

    `labels` is the sum of the sets' sizes, `empty` how many were empty; both 0 for intervals. It reveals four counts.
    """

    examples: int
    covered: int
    empty: int = 0
    labels: int = 0

    def __post_init__(self) -> None:
        check_whole("examples", self.examples)
        check_whole("covered", self.covered, most=self.examples)
        check_whole("empty", self.empty, most=self.examples - self.covered)
        check_whole("labels", self.labels)
        least = self.examples - self.empty
        if (self.labels or self.empty) and self.labels < least:
            raise ReportError("labels", f"is {self.labels}; {least} sets that are not empty hold at least so many")

    @property
    def share(self) -> float | None:
        """From 0 to 1; None without examples."""
        return self.covered / self.examples if self.examples else None

    @property
    def mean_size(self) -> float | None:
        """Classes in a set, on average; None without examples."""
        return self.labels / self.examples if self.examples else None


def threshold(sketches: Sequence[Sketch], alpha: float) -> Threshold:
    """The threshold from the sketches of K clients, one of each; a client without examples counts in K as others do.

    alpha is taken as the decimal that it prints as: ⌈0.9 · 70⌉ is 63, whatever floats make of it. Raises ValueError
    unless 0 < alpha < 1, and for no sketches or two grids.

    >>> from hansa.uncertainty.sketches import Grid, sketch_of
    >>> threshold([sketch_of([0.25, 0.5, 0.75], Grid.UNIT), sketch_of([0.125] * 6, Grid.UNIT)], alpha=0.4)
    Threshold(value=0.25, alpha=0.4, rank=7, examples=9, clients=2, excess=0, unbounded=None)
    """
    return pooled_threshold(merged(sketches), len(sketches), alpha)


def pooled_threshold(pooled: Sketch, clients: int, alpha: float) -> Threshold:
    """As `threshold`, from the sketch that those of K clients were merged to. Raises ValueError likewise."""
    rank = _rank(pooled.count, clients, alpha)
    if rank > pooled.count:
        return Threshold(None, alpha, rank, pooled.count, clients, unbounded=Unbounded.TOO_FEW)
    found = quantile(pooled, rank)
    if math.isinf(found.value):
        return Threshold(None, alpha, rank, pooled.count, clients, found.excess, Unbounded.BEYOND_GRID)
    return Threshold(found.value, alpha, rank, pooled.count, clients, found.excess)


def examples_needed(clients: int, alpha: float) -> int:
    """The fewest calibration examples for which K clients have a finite threshold: ⌈K·(1 - alpha) / alpha⌉.

    >>> examples_needed(5, 0.1)
    45
    """
    missed = _missed(alpha)
    return math.ceil(clients * (1 - missed) / missed)


def prediction_sets(scores: Floats, limit: Threshold) -> PredictionSets:
    """The classes whose score is at or below the threshold, of (n, C) scores by the rule that was calibrated.

    >>> limit = Threshold(0.5, alpha=0.1, rank=90, examples=99, clients=1)
    >>> sets = prediction_sets(np.array([[0.2, 0.8], [0.6, 0.6]]), limit)
    >>> sets.members.tolist(), sets.empty.tolist()
    ([[True, False], [False, False]], [False, True])
    """
    return PredictionSets(scores <= limit.bound)


def intervals(predicted: ArrayLike, limit: Threshold, sigma: ArrayLike | None = None) -> Intervals:
    """ŷ ± q, or ŷ ± q·sigma where normalised residuals were calibrated: predictions (n,) or (n, C), sigma likewise.

    Raises ValueError for another shape of sigma, and for one that is not greater than 0.
    """
    guesses = floats("predictions", predicted, np.ndim(predicted))
    width = np.full(guesses.shape, limit.bound)
    if sigma is not None:
        if np.shape(sigma) != guesses.shape:
            raise ValueError(f"the sigma have shape {np.shape(sigma)}; the predictions have {guesses.shape}")
        width *= positive(floats("sigma", sigma, guesses.ndim))
    return Intervals(guesses - width, guesses + width)


def set_coverage(sets: PredictionSets, labels: NDArray[np.int64]) -> Coverage:
    """What the sets of a client's examples hold, by their right classes (n,)."""
    covered = int(sets.members[np.arange(len(labels)), labels].sum())
    return Coverage(len(labels), covered, int(sets.empty.sum()), int(sets.sizes.sum()))


def sketched_coverage(scores: Sketch, limit: Threshold) -> Coverage:
    """How many of a client's scores are at or below the threshold, as far as the threshold is an edge of their grid."""
    if limit.value is None:
        return Coverage(scores.count, scores.count)
    within = edges(scores.grid)[list(scores.cells)] <= limit.value
    return Coverage(scores.count, sum(count for count, inside in zip(scores.counts, within, strict=True) if inside))


def interval_coverage(scores: Floats, limit: Threshold) -> Coverage:
    """How many answers lie within their intervals: those with a residual (n,) at or below the threshold."""
    return Coverage(len(scores), int((scores <= limit.bound).sum()))


def merged_coverage(parts: Iterable[Coverage]) -> Coverage:
    """That of all clients together."""
    listed = list(parts)
    return Coverage(
        sum(part.examples for part in listed),
        sum(part.covered for part in listed),
        sum(part.empty for part in listed),
        sum(part.labels for part in listed),
    )


def _rank(examples: int, clients: int, alpha: float) -> int:
    return math.ceil((1 - _missed(alpha)) * (examples + clients))


def _missed(alpha: float) -> Fraction:
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is {alpha}; the share that may miss is between 0 and 1, such as 0.1")
    return Fraction(repr(float(alpha)))
