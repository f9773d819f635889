"""An answer with its uncertainty as a picture. Pure: from what the API answers to what a template draws.

Outputs of classes are bars with the spread over the passes as whiskers, the likeliest at the top; values are points
with an interval of two standard deviations. Answers that are shown side by side have one scale.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from hansa.protocol.inference import InferenceAnswer
from hansa.server.dashboard.tables import as_csv

WIDTH: Final = 440
LEFT: Final = 62
"""Room for the labels."""
RIGHT: Final = 78
"""Room for the numbers."""
ROW: Final = 22
MOST_ROWS: Final = 10
MOST_ITEMS: Final = 6
"""Of a batch."""
DEVIATIONS: Final = 2.0
"""Half of the interval around a value."""

Floats = npt.NDArray[np.float64]
Place = Callable[[float], float]
"""From a value to where it is drawn."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A class, or an output, with its place in the picture."""

    label: str
    value: float
    std: float | None
    y: float
    x: float
    """Where its value is."""
    low: float
    high: float
    """Where its spread begins and ends."""
    first: bool
    """Whether it is the likeliest."""


@dataclass(frozen=True, slots=True)
class Split:
    """What of the entropy is in the data, and what the model does not know: nats, and widths out of 100."""

    total: float
    data: float
    model: float
    data_width: float
    model_width: float
    share: float
    """Of the entropy of knowing nothing, log of the number of classes."""


@dataclass(frozen=True, slots=True)
class Item:
    """What is answered to one input of a batch."""

    number: int
    said: str
    bars: Sequence[Bar]
    more: int
    """Classes or outputs that are not drawn."""
    split: Split | None
    held: str = ""
    """The set of classes, or the interval, that was asked for by a level."""

    @property
    def height(self) -> int:
        """Of the drawing."""
        return ROW * len(self.bars) + 4

    @property
    def summary(self) -> str:
        """For who does not see it."""
        return "; ".join(
            f"{bar.label} {bar.value:.4g}" + (f" ± {bar.std:.2g}" if bar.std is not None else "") for bar in self.bars
        )


@dataclass(frozen=True, slots=True)
class Picture:
    """One answer."""

    of_classes: bool
    items: Sequence[Item]
    more: int
    """Inputs of the batch that are not drawn."""
    zero: float
    """Where zero, or the smallest value, is."""


def as_data(picture: Picture) -> str:
    """Its numbers as the address of a CSV file: a row for each bar."""
    rows = [(item.number, bar.label, bar.value, bar.std) for item in picture.items for bar in item.bars]
    kind = "class" if picture.of_classes else "output"
    return f"data:text/csv;charset=utf-8,{quote(as_csv(('input', kind, 'value', 'std'), rows))}"


@dataclass(frozen=True, slots=True)
class _Numbers:
    """What is drawn of an answer: (B, C) each; None where it is not known."""

    values: Floats
    stds: Floats | None
    of_classes: bool


def pictures(answers: Sequence[InferenceAnswer]) -> Sequence[Picture | None]:
    """A picture of each, on one scale; None of an answer that is no table of classes or values."""
    drawn = [_numbers(answer) for answer in answers]
    low, high = _scale([each for each in drawn if each is not None])
    return [
        None if numbers is None else _picture(answer, numbers, low, high)
        for answer, numbers in zip(answers, drawn, strict=True)
    ]


def _numbers(answer: InferenceAnswer) -> _Numbers | None:
    outputs = answer.hansa.outputs
    probabilities = _table(answer.hansa.probabilities)
    values = probabilities if probabilities is not None else _table(answer.inference)
    if values is None or not np.isfinite(values).all():
        return None
    if (
        probabilities is None
        and answer.hansa.method == "none"
        and outputs != "values"
        and np.ndim(answer.inference) == 1
    ):
        return None  # numbers of classes: there is nothing to draw
    stds = _table(answer.uncertainty.get("std"))
    if stds is not None and (stds.shape != values.shape or not np.isfinite(stds).all()):
        stds = None
    is_of_classes = probabilities is not None or "predictive_entropy" in answer.uncertainty
    return _Numbers(values, stds, is_of_classes or (outputs is None and values.shape[1] > 1))


def _table(nested: object) -> Floats | None:
    if nested is None:
        return None
    try:
        array = np.asarray(nested, np.float64)
    except (TypeError, ValueError):
        return None
    if array.ndim == 1:
        array = array[:, np.newaxis]
    return array if array.ndim == 2 and array.size else None


def _scale(drawn: Sequence[_Numbers]) -> tuple[float, float]:
    if not drawn:
        return 0.0, 1.0
    lows = [(each.values - DEVIATIONS * (0 if each.stds is None else each.stds)).min() for each in drawn]
    highs = [(each.values + DEVIATIONS * (0 if each.stds is None else each.stds)).max() for each in drawn]
    if all(each.of_classes and each.values.min() >= 0 and each.values.max() <= 1 for each in drawn):
        return 0.0, 1.0
    low, high = min(0.0, float(min(lows))), max(0.0, float(max(highs)))
    return (low, high) if high > low else (low - 1, high + 1)


def _picture(answer: InferenceAnswer, numbers: _Numbers, low: float, high: float) -> Picture:
    def x(value: float) -> float:
        share = min(max((value - low) / (high - low), 0.0), 1.0)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    shown = range(min(len(numbers.values), MOST_ITEMS))
    items = [
        Item(
            number=index,
            said=_said(numbers, index),
            bars=_bars(numbers, index, x),
            more=max(0, numbers.values.shape[1] - MOST_ROWS),
            split=_split(answer, index, numbers.values.shape[1]),
            held=_held(answer, index),
        )
        for index in shown
    ]
    return Picture(numbers.of_classes, items, len(numbers.values) - len(items), x(0.0))


def _said(numbers: _Numbers, index: int) -> str:
    values = numbers.values[index]
    if numbers.of_classes:
        return f"Class {int(values.argmax())}"
    first = f"{values[0]:.4g}"
    return first if numbers.stds is None else f"{first} \N{PLUS-MINUS SIGN} {numbers.stds[index][0]:.2g}"


def _held(answer: InferenceAnswer, index: int) -> str:
    conformal = answer.hansa.conformal
    if conformal is None:
        return ""
    level = f"{100 * conformal.level:.3g} %"
    if conformal.sets is not None and index < len(conformal.sets):
        held = ", ".join(map(str, conformal.sets[index]))
        what = f"{{{held}}}" if held else "empty: no class suits well enough"
        return f"Set at {level}: {what}. So many of such sets hold the truth, this one or not"
    low, high = (_table(each) for each in (conformal.low, conformal.high))
    if low is None or high is None or index >= len(low) or not math.isfinite(low[index][0] - high[index][0]):
        return ""  # there is no end: the answer says why
    ends = f"from {low[index][0]:.4g} to {high[index][0]:.4g}"
    return f"Interval at {level}: {ends}. So many of such intervals hold the truth, this one or not"


def _bars(numbers: _Numbers, index: int, x: Place) -> Sequence[Bar]:
    values = numbers.values[index]
    stds = None if numbers.stds is None else numbers.stds[index]
    order = np.argsort(-values, kind="stable") if numbers.of_classes else np.arange(len(values))
    width = 1.0 if numbers.of_classes else DEVIATIONS
    bars = []
    for place, which in enumerate(order[:MOST_ROWS]):
        value, std = float(values[which]), None if stds is None else float(stds[which])
        bars.append(
            Bar(
                label=f"class {which}" if numbers.of_classes else f"output {which}",
                value=value,
                std=std,
                y=ROW * place + ROW / 2 + 2,
                x=x(value),
                low=x(value - width * (std or 0.0)),
                high=x(value + width * (std or 0.0)),
                first=place == 0 and numbers.of_classes,
            )
        )
    return bars


def _split(answer: InferenceAnswer, index: int, classes: int) -> Split | None:
    names = ("predictive_entropy", "expected_entropy", "mutual_info")
    found = [np.asarray(answer.uncertainty[name], np.float64) for name in names if name in answer.uncertainty]
    if len(found) < len(names) or any(each.ndim != 1 for each in found) or classes < 2:
        return None
    total, data, model = (float(each[index]) for each in found)
    if not all(map(math.isfinite, (total, data, model))):
        return None
    most = math.log(classes)
    return Split(
        total=total,
        data=data,
        model=max(model, 0.0),
        data_width=round(min(max(data / most, 0.0), 1.0) * 100, 1),
        model_width=round(min(max(model / most, 0.0), 1.0) * 100, 1),
        share=total / most,
    )
