"""How far a model's confidence is borne out by a client's own examples: what evaluations and calibrations tell of it.

    told = Confidence(config)
    for inputs, labels in batches:
        told.add(logits_of(inputs), labels)
    return EvaluateResult({"loss": loss, **told.metrics()}, len(examples), calibration=told.report())

`calibrate` does the same, and returns CalibrateResult(len(examples), told.report(), told.metrics()); where a plan
calibrates intervals of numbers, `Residuals` takes the place of `Confidence`. What is told are counts, of which
`hansa.uncertainty` says what they reveal: never inputs or labels.

The metric is reported for each client, as other metrics are. The mean over clients, which a round shows, is not the
error of all examples together: one client's overconfidence and another's diffidence add up there, and would cancel out.
"""

import numpy as np
from numpy.typing import ArrayLike

from hansa.client.trainer import Config
from hansa.protocol import calibration as wire
from hansa.uncertainty import sketches, temperature
from hansa.uncertainty.calibration import Tally, calibration_error, merged, tally
from hansa.uncertainty.probabilities import Outputs, class_labels, class_probabilities
from hansa.uncertainty.scores import Rule, of_labels, residuals
from hansa.uncertainty.sketches import Sketch, sketch_of
from hansa.uncertainty.temperature import LossSums, loss_sums, tempered

ECE = "ece"
"""The name of the metric."""
ECE_TEMPERED = "ece_tempered"
"""Its name where logits are divided by the version's temperature."""
NOTHING = wire.CalibrationWish()


class Confidence:
    """Gathers a classifier's predictions batch by batch, in memory that does not grow with them.

    `config` is that of the task: it says what is asked for beside the metric. Without it nothing is.
    """

    def __init__(self, config: Config | None = None) -> None:
        wish = (config.calibration if config is not None else None) or NOTHING
        self._rule = Rule(wish.scores) if wish.scores is not None else None
        if self._rule is Rule.RESIDUAL:
            raise ValueError("the plan calibrates intervals of numbers, by residuals; gather them with Residuals")
        self._temperature = wish.temperature
        self._wants_losses = wish.losses
        self._dice = np.random.default_rng(config.seed if config is not None else 0)
        self._tally = merged(())
        self._losses = temperature.merged(())
        self._scores: Sketch | None = None
        self._finite = True

    def add(self, logits: ArrayLike, labels: ArrayLike) -> None:
        """One batch: logits (n, C) of any real dtype, before any softmax; labels (n,) from 0 to C - 1.

        Logits that are not finite are no mistake here: a model may rule classes out with -inf. They end the gathering.
        Raises ValueError for other shapes, fewer than 2 classes, and labels that are no classes.
        """
        self._finite = self._finite and bool(np.isfinite(logits).all())
        if not self._finite:
            return
        plain = class_probabilities(logits, Outputs.LOGITS)
        probabilities = plain if self._temperature is None else tempered(logits, self._temperature)
        classes = class_labels(labels, (len(probabilities), probabilities.shape[1]))
        self._tally = merged([self._tally, tally(probabilities, classes)])
        if self._wants_losses:
            self._losses = temperature.merged([self._losses, loss_sums(logits, classes)])
        if self._rule is not None:
            scores = self._rule.of_classes(probabilities, self._dice.random(len(classes)))
            self._scores = _with(self._scores, of_labels(scores, classes), self._rule)

    def metrics(self) -> dict[str, float]:
        """{"ece": the expected calibration error}, 0 to 1: by how much confidence and accuracy differ, on average.

        Guo et al. 2017, arXiv:1706.04599, with 15 bins. Of few examples it is too high, by chance alone: about 0.12
        of 100 and 0.04 of 1,000 drawn from a perfectly calibrated model of ten classes. With the version's temperature
        it is named "ece_tempered". Empty where there was no example, or an output was not finite.

        >>> sureness = Confidence()
        >>> sureness.add([[1.0, -1.0], [-1.0, 1.0]], [0, 0])
        >>> {name: round(value, 4) for name, value in sureness.metrics().items()}
        {'ece': 0.3808}
        """
        name = ECE if self._temperature is None else ECE_TEMPERED
        return {name: calibration_error(self._tally)} if self._finite and self._tally.count else {}

    def report(self) -> wire.CalibrationReport | None:
        """What the task asks for; None where it asks for nothing, there was no example, or an output not finite."""
        if not (self._finite and self._tally.count and (self._wants_losses or self._rule)):
            return None
        return wire.CalibrationReport(
            losses=_losses(self._losses) if self._wants_losses else None,
            tally=_tally(self._tally),
            scores=None if self._scores is None else _sketch(self._scores),
        )


class Residuals:
    """Gathers a regression's predictions batch by batch, likewise."""

    def __init__(self) -> None:
        self._scores: Sketch | None = None

    def add(self, predicted: ArrayLike, answers: ArrayLike) -> None:
        """One batch: predictions (n,) or (n, outputs), and what is so, in the same shape. ValueError for another."""
        self._scores = _with(self._scores, residuals(predicted, answers), Rule.RESIDUAL)

    def report(self) -> wire.CalibrationReport | None:
        """What a calibration by residuals asks for; None without examples."""
        return None if self._scores is None else wire.CalibrationReport(scores=_sketch(self._scores))


def _with(known: Sketch | None, scores: ArrayLike, rule: Rule) -> Sketch:
    added = sketch_of(scores, rule.grid)
    return added if known is None else sketches.merged([known, added])


def _losses(sums: LossSums) -> wire.Losses:
    return wire.Losses(grid=sums.grid, sums=list(sums.sums), count=sums.count)


def _tally(of: Tally) -> wire.Tally:
    return wire.Tally(
        counts=list(of.counts), correct=list(of.correct), confidences=list(of.confidences), brier=of.brier
    )


def _sketch(of: Sketch) -> wire.Sketch:
    return wire.Sketch(grid=of.grid.value, cells=list(of.cells), counts=list(of.counts))
