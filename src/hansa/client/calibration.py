"""How far a classifier's confidence is borne out by a client's own examples: a metric of its evaluations.

    sureness = Confidence()
    for inputs, labels in batches:
        sureness.add(logits_of(inputs), labels)
    return EvaluateResult({"loss": loss, **sureness.metrics()}, len(examples))

It is reported for each client, as other metrics are. The mean over clients, which a round shows, is not the error of
all examples together: one client's overconfidence and another's diffidence add up there, and would cancel out.
"""

import numpy as np
from numpy.typing import ArrayLike

from hansa.uncertainty.calibration import calibration_error, merged, tally
from hansa.uncertainty.probabilities import Outputs, class_labels, class_probabilities

ECE = "ece"
"""The name of the metric."""


class Confidence:
    """Gathers predictions batch by batch, in memory that does not grow with them."""

    def __init__(self) -> None:
        self._tally = merged(())
        self._finite = True

    def add(self, logits: ArrayLike, labels: ArrayLike) -> None:
        """One batch: logits (n, C) of any real dtype, before any softmax; labels (n,) from 0 to C - 1.

        Logits that are not finite are no mistake here: a model may rule classes out with -inf. They end the metric.
        Raises ValueError for other shapes, fewer than 2 classes, and labels that are no classes.
        """
        self._finite = self._finite and bool(np.isfinite(logits).all())
        if self._finite:
            probabilities = class_probabilities(logits, Outputs.LOGITS)
            classes = class_labels(labels, (len(probabilities), probabilities.shape[1]))
            self._tally = merged([self._tally, tally(probabilities, classes)])

    def metrics(self) -> dict[str, float]:
        """{"ece": the expected calibration error}, 0 to 1: by how much confidence and accuracy differ, on average.

        Guo et al. 2017, arXiv:1706.04599, with 15 bins. Of few examples it is too high, by chance alone: about 0.12
        of 100 and 0.04 of 1,000 drawn from a perfectly calibrated model of ten classes.
        Empty where there was no example, or an output was not finite.

        >>> sureness = Confidence()
        >>> sureness.add([[1.0, -1.0], [-1.0, 1.0]], [0, 0])
        >>> {name: round(value, 4) for name, value in sureness.metrics().items()}
        {'ece': 0.3808}
        """
        return {ECE: calibration_error(self._tally)} if self._finite and self._tally.count else {}
