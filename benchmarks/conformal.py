"""Whether prediction sets that clients calibrate together hold the digit as often as was asked: python conformal.py.

    python benchmarks/conformal.py [--splits 200] [--alpha 0.1] [--seed 1] [--json]

Each split deals scikit-learn's 1,797 digits anew: to train a classifier with (few, and without a penalty, so that it is
overconfident), to find the temperature, to calibrate and to test. Five clients share them by Dirichlet(0.3) for each
digit: some clients hardly see some of the digits. The server sees what clients report, and nothing else. Figures are
means over the splits; coverage has its standard error.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from hansa.uncertainty import calibration, temperature
from hansa.uncertainty.conformal import prediction_sets, set_coverage, threshold
from hansa.uncertainty.probabilities import Floats, Labels, softmax
from hansa.uncertainty.scores import adaptive, least_ambiguous, of_labels
from hansa.uncertainty.sketches import Grid, sketch_of

CLIENTS, SKEW = 5, 0.3
TRAIN, TEMPER, CALIBRATE = 300, 200, 900

Rule = Callable[[Floats, np.random.Generator], Floats]
RULES: dict[str, Rule] = {
    "least ambiguous": lambda rows, _: least_ambiguous(rows),
    "adaptive, with dice": lambda rows, rng: adaptive(rows, rng.random(len(rows))),
    "adaptive": lambda rows, _: adaptive(rows),
}


@dataclass(frozen=True)
class Split:
    """The logits of all digits that were not trained with, whose they are, and indices into them by part and client."""

    logits: Floats
    labels: Labels
    owners: NDArray[np.int64]
    temper: list[NDArray[np.int64]]
    calibrate: list[NDArray[np.int64]]
    test: NDArray[np.int64]


class Cover(msgspec.Struct, frozen=True):
    """What the sets of one rule held: shares from 0 to 1, `size` in digits."""

    coverage: float
    error: float
    accuracy: float
    size: float
    empty: float
    lowest_client: float
    excess: float


class Calibrated(msgspec.Struct, frozen=True):
    """The expected calibration error of the test digits, before and after the temperature was found."""

    temperature: float
    error_before: float
    error_after: float


class Report(msgspec.Struct, frozen=True):
    """All figures of one run."""

    alpha: float
    seed: int
    splits: int
    calibrated: Calibrated
    rules: dict[str, Cover]


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--splits", type=int, default=200)
    parser.add_argument("--alpha", type=float, default=0.1, help="the share that may miss")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    report = measured(options.splits, options.alpha, options.seed)
    print(msgspec.json.format(msgspec.json.encode(report)).decode() if options.json else told(report))


def measured(count: int, alpha: float, seed: int) -> Report:
    rng = np.random.default_rng(seed)
    found: dict[str, list[Cover]] = {rule: [] for rule in RULES}
    errors = []
    for split in splits(count, rng):
        tempered, calibrated = cooled(split)
        errors.append(calibrated)
        for name, rule in RULES.items():
            found[name].append(covered(split, tempered, rule(tempered, rng), alpha))
    return Report(
        alpha, seed, count, _mean(errors, Calibrated), {name: _over(covers) for name, covers in found.items()}
    )


def splits(count: int, rng: np.random.Generator) -> Iterator[Split]:
    """Digits dealt anew each time, and a classifier trained with the first part of them."""
    digits = load_digits()
    images, labels = digits.data / 16.0, digits.target.astype(np.int64)
    for _ in range(count):
        deal = rng.permutation(len(labels))
        train, rest = deal[:TRAIN], deal[TRAIN:]
        model = LogisticRegression(C=1e4, max_iter=2000).fit(images[train], labels[train])
        shares = rng.dirichlet(np.full(CLIENTS, SKEW), 10).cumsum(axis=1)[:, :-1]
        owners = (rng.random((len(rest), 1)) > shares[labels[rest]]).sum(axis=1)
        ends = [TEMPER, TEMPER + CALIBRATE]
        temper, calibrate, test = np.split(np.arange(len(rest)), ends)
        yield Split(
            logits=model.decision_function(images[rest]),
            labels=labels[rest],
            owners=owners,
            temper=[temper[owners[temper] == client] for client in range(CLIENTS)],
            calibrate=[calibrate[owners[calibrate] == client] for client in range(CLIENTS)],
            test=test,
        )


def cooled(split: Split) -> tuple[Floats, Calibrated]:
    """Probabilities at the temperature that the clients' loss sums say, and what this does for their calibration."""
    sums = [temperature.loss_sums(split.logits[part], split.labels[part]) for part in split.temper]
    best = temperature.best(temperature.merged(sums)).value
    before, after = softmax(split.logits), temperature.tempered(split.logits, best)
    errors = [
        calibration.calibration_error(calibration.tally(rows[split.test], split.labels[split.test]))
        for rows in (before, after)
    ]
    return after, Calibrated(best, *errors)


def covered(split: Split, probabilities: Floats, scores: Floats, alpha: float) -> Cover:
    """The sets of the test digits, by a threshold of the clients' sketches."""
    own = of_labels(scores, split.labels)
    limit = threshold([sketch_of(own[part], Grid.UNIT) for part in split.calibrate], alpha)
    sets = prediction_sets(scores[split.test], limit)
    labels, owners = split.labels[split.test], split.owners[split.test]
    whole = set_coverage(sets, labels)
    hits = own[split.test] <= limit.bound
    clients = [float(hits[owners == client].mean()) for client in range(CLIENTS) if (owners == client).any()]
    return Cover(
        coverage=whole.covered / whole.examples,
        error=0.0,
        accuracy=float((probabilities[split.test].argmax(axis=1) == labels).mean()),
        size=whole.labels / whole.examples,
        empty=whole.empty / whole.examples,
        lowest_client=min(clients),
        excess=limit.excess / limit.examples,
    )


def told(report: Report) -> str:
    calibrated = report.calibrated
    before, after = calibrated.error_before, calibrated.error_after
    lines = [
        f"{report.splits} splits, {CLIENTS} clients, seed {report.seed}; asked for {1 - report.alpha:.1%}",
        f"temperature {calibrated.temperature:.2f}; calibration error before {before:.4f}, after {after:.4f}",
        f"{'':22}{'coverage':>18}{'set size':>10}{'empty':>8}{'accuracy':>10}{'lowest client':>15}{'cell':>8}",
    ]
    for name, cover in report.rules.items():
        coverage = f"{cover.coverage:.4f} ± {cover.error:.4f}"
        lines.append(
            f"{name:22}{coverage:>18}{cover.size:>10.3f}{cover.empty:>8.1%}{cover.accuracy:>10.1%}"
            f"{cover.lowest_client:>15.1%}{cover.excess:>8.2%}"
        )
    return "\n".join(lines)


def _over(covers: Sequence[Cover]) -> Cover:
    mean = _mean(covers, Cover)
    error = float(np.std([cover.coverage for cover in covers]) / np.sqrt(len(covers)))
    return msgspec.structs.replace(mean, error=error)


Figures = TypeVar("Figures", bound=msgspec.Struct)


def _mean(figures: Sequence[Figures], kind: type[Figures]) -> Figures:
    names = kind.__struct_fields__
    return kind(*(float(np.mean([getattr(one, name) for one in figures])) for name in names))


if __name__ == "__main__":
    main(sys.argv[1:])
