"""Whether a model that says 0.8 is right in 80 of 100 cases: tallies that clients make and the server adds up.

What a tally reveals: how sure the model was of a client's examples and how often rightly, in 15 bins, some 0.5 KB; no
inputs, no labels. A bin with a single example tells the confidence in that one and whether it was right.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hansa.uncertainty.probabilities import Floats, Labels
from hansa.uncertainty.reports import ReportError, check_whole, check_wholes, fixed_point

BINS = 15
"""As in Guo et al. 2017: of equal width, ((m - 1)/15, m/15]."""
BITS = 30
"""Confidences and Brier scores are counted in units of 2^-30."""

_UNIT = 1 << BITS
_EDGES = np.arange(1, BINS) / BINS


class Bin(NamedTuple):
    """One bar of a reliability diagram: confidences in (low, high]; accuracy and confidence None where it is empty."""

    low: float
    high: float
    examples: int
    accuracy: float | None
    confidence: float | None


@dataclass(frozen=True, slots=True)
class Tally:
    """Predictions by how sure the model was of its most likely class. Raises ReportError when impossible.

    For each bin the number of examples, how many of them were right, and Σ confidence in units of 2^-30; `brier` is the
    sum of the Brier scores of all, in the same unit. Adding tallies up gives the same whole numbers in every order.
    """

    counts: tuple[int, ...]
    correct: tuple[int, ...]
    confidences: tuple[int, ...]
    brier: int

    def __post_init__(self) -> None:
        check_wholes("counts", self.counts, BINS)
        check_wholes("correct", self.correct, BINS)
        check_wholes("confidences", self.confidences, BINS)
        check_whole("the sum of counts", self.count)
        for place, (count, right, total) in enumerate(zip(self.counts, self.correct, self.confidences, strict=True)):
            if right > count:
                raise ReportError(f"correct[{place}]", f"is {right} of {count} examples")
            # rounded to a unit each, and an edge of a bin lies between two units
            low, high = (count * (_UNIT * edge // BINS + slack) for edge, slack in ((place, -1), (place + 1, 2)))
            if not low <= total <= high:
                raise ReportError(f"confidences[{place}]", f"is {total}; {count} in this bin make {low} to {high}")
        check_whole("brier", self.brier, most=self.count * 2 * _UNIT)

    @property
    def count(self) -> int:
        """The examples of all bins."""
        return sum(self.counts)


def tally(probabilities: Floats, labels: Labels) -> Tally:
    """The tally of one client: rows of probabilities.class_probabilities (n, C), labels of probabilities.class_labels.

    The prediction is the most likely class, of equal ones the first. Brier 1950, Monthly Weather Review 78:
    Σ_c (p_c - [c = y])², from 0 to 2.

    >>> sure = tally(np.array([[0.9, 0.1], [0.8, 0.2]]), np.array([0, 1]))
    >>> round(calibration_error(sure), 6), round(brier_score(sure), 6)
    (0.45, 0.65)
    """
    rows = np.arange(len(labels))
    predicted = probabilities.argmax(axis=1)
    confidence = np.minimum(probabilities[rows, predicted], 1.0)
    places = np.searchsorted(_EDGES, confidence, side="left")
    right = predicted == labels
    misses = probabilities.copy()
    misses[rows, labels] -= 1.0
    return Tally(
        tuple(np.bincount(places, minlength=BINS).tolist()),
        tuple(np.bincount(places[right], minlength=BINS).tolist()),
        tuple(fixed_point(confidence[places == place], BITS) for place in range(BINS)),
        fixed_point(np.minimum(np.square(misses).sum(axis=1), 2.0), BITS),
    )


def merged(parts: Iterable[Tally]) -> Tally:
    """The tally of all examples together, whatever the order. Of none: no examples."""
    listed = list(parts)
    return Tally(
        _added(part.counts for part in listed),
        _added(part.correct for part in listed),
        _added(part.confidences for part in listed),
        sum(part.brier for part in listed),
    )


def calibration_error(whole: Tally) -> float:
    """ECE, Σ_m (|B_m| / n) · |accuracy_m - confidence_m|: Guo et al. 2017, arXiv:1706.04599, eq. 3.

    ValueError without examples. An estimate with a bias upwards: where few examples share a bin, their accuracy differs
    from their confidence by chance alone.
    """
    _some(whole)
    return sum(_gaps(whole)) / (whole.count * _UNIT)


def maximum_calibration_error(whole: Tally) -> float:
    """max_m |accuracy_m - confidence_m| over the bins that hold any: Guo et al. 2017, eq. 5.

    ValueError without examples.
    """
    _some(whole)
    return max(gap / (count * _UNIT) for gap, count in zip(_gaps(whole), whole.counts, strict=True) if count)


def brier_score(whole: Tally) -> float:
    """The mean over the examples, from 0 (right and sure) to 2 (wrong and sure). ValueError without examples."""
    _some(whole)
    return whole.brier / (whole.count * _UNIT)


def accuracy(whole: Tally) -> float:
    """The share of examples whose most likely class was the right one. ValueError without examples."""
    _some(whole)
    return sum(whole.correct) / whole.count


def reliability_diagram(whole: Tally) -> list[Bin]:
    """The bars from the least sure to the surest; a calibrated model has accuracy = confidence in each."""
    return [
        Bin(
            place / BINS,
            (place + 1) / BINS,
            count,
            whole.correct[place] / count if count else None,
            whole.confidences[place] / (count * _UNIT) if count else None,
        )
        for place, count in enumerate(whole.counts)
    ]


def _gaps(whole: Tally) -> list[int]:
    """|right - Σ confidence| of each bin, in units of 2^-30."""
    pairs = zip(whole.correct, whole.confidences, strict=True)
    return [abs(right * _UNIT - confidence) for right, confidence in pairs]


def _added(columns: Iterable[tuple[int, ...]]) -> tuple[int, ...]:
    return tuple(sum(column) for column in zip(*columns, strict=True)) or (0,) * BINS


def _some(whole: Tally) -> None:
    if not whole.count:
        raise ValueError("the tally holds no examples; ask clients for theirs first")
