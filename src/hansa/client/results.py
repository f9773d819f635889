"""What a trainer returned, checked before anything is sent: errors are told where they can be mended.

The server checks again; it trusts nobody. All refusals are ResultErrors that name the array or field.
"""

import math
import operator
from collections.abc import Mapping
from typing import SupportsFloat, SupportsIndex

import numpy as np

from hansa.client.errors import ResultError
from hansa.client.trainer import CalibrateResult, EvaluateResult, MomentsResult, TrainResult
from hansa.core.finite import first_not_addable
from hansa.core.moments import MomentsError, Vector, variance
from hansa.core.params import Array, ArraySpec, Kind, ParamSpec
from hansa.formats.layout import shown
from hansa.protocol.calibration import CalibrationReport
from hansa.protocol.tasks import MAX_METRICS

MAX_METRIC_NAME = 64
MAX_EXAMPLES = 2**53
"""Up to here every whole number has a float64: the server's sums weight by it."""


def checked_training(result: object, spec: ParamSpec) -> TrainResult:
    """`result` as a TrainResult that fits the model `spec`, with contiguous arrays in native byte order."""
    if not isinstance(result, TrainResult):
        raise ResultError(
            f"train returned {_kind(result)}; wanted is hansa.client.TrainResult(params, num_examples, metrics)"
        )
    if not isinstance(result.params, Mapping):
        raise ResultError(f"params is {_kind(result.params)}; wanted is a dict from array name to numpy array")
    wanted = {array.name for array in spec}
    if missing := sorted(wanted - result.params.keys()):
        raise ResultError(f"params lacks {shown(missing)}; return every array that was given, changed or not")
    if unknown := sorted(str(name) for name in result.params.keys() - wanted):
        raise ResultError(f"params holds {shown(unknown)}, which the model does not have")
    return TrainResult(
        params={array.name: _checked_array(result.params[array.name], array) for array in spec},
        num_examples=_checked_count(result.num_examples),
        metrics=_checked_metrics(result.metrics),
    )


def checked_moments(result: object, spec: ParamSpec) -> MomentsResult:
    """`result` as a MomentsResult for the model `spec`: its params and no more, in float64."""
    if not isinstance(result, MomentsResult):
        raise ResultError(
            f"moments returned {_kind(result)}; wanted is hansa.client.MomentsResult(first, second, num_examples)"
        )
    wanted = [array for array in spec if array.kind is Kind.PARAM]
    first = _checked_moment("first", result.first, wanted)
    second = _checked_moment("second", result.second, wanted)
    for name in first:
        try:
            variance(first[name].reshape(-1), second[name].reshape(-1))
        except MomentsError as error:
            place = [int(axis) for axis in np.unravel_index(error.index, first[name].shape)]
            raise ResultError(
                f"the moments of {name!r} cannot be those of any weights, at {place}: {error}. Give the mean of the "
                "iterates and the mean of their squares, not a deviation."
            ) from error
    return MomentsResult(first, second, _checked_count(result.num_examples))


def _checked_moment(which: str, arrays: object, wanted: list[ArraySpec]) -> dict[str, Vector]:
    if not isinstance(arrays, Mapping):
        raise ResultError(f"{which} is {_kind(arrays)}; wanted is a dict from array name to numpy array")
    if missing := [array.name for array in wanted if array.name not in arrays]:
        raise ResultError(f"{which} lacks {shown(missing)}; return the moments of every param")
    checked = {}
    for spec in wanted:
        array = np.asarray(arrays[spec.name])
        if array.shape != spec.shape or array.dtype.kind not in "fiu":
            raise ResultError(
                f"{which}[{spec.name!r}] has shape {array.shape} and dtype {array.dtype}; wanted are numbers in the "
                f"param's shape {spec.shape}"
            )
        checked[spec.name] = np.asarray(array, np.float64, order="C")
        if (index := first_not_addable(checked[spec.name])) is not None:
            raise ResultError(
                f"{which}[{spec.name!r}] holds {checked[spec.name].reshape(-1)[index]}: the iterates diverged. Try a "
                "lower client_lr."
            )
    return checked


def checked_evaluation(result: object) -> EvaluateResult:
    """`result` as an EvaluateResult, from one or from a dict with "num_examples" in it."""
    if isinstance(result, EvaluateResult):
        calibration = _checked_calibration(result.calibration)
        return EvaluateResult(_checked_metrics(result.metrics), _checked_count(result.num_examples), calibration)
    if not isinstance(result, Mapping):
        raise ResultError(
            f'evaluate returned {_kind(result)}; wanted is a dict such as {{"num_examples": 100, "loss": 0.5}}'
        )
    if "num_examples" not in result:
        seen = shown([str(name) for name in result]) or "nothing"
        raise ResultError(
            f'evaluate returned a dict without "num_examples" (it has {seen}). Add the number of examples evaluated: '
            "the mean over clients is weighted by it."
        )
    metrics = {name: value for name, value in result.items() if name != "num_examples"}
    return EvaluateResult(_checked_metrics(metrics), _checked_count(result["num_examples"]))


def checked_scores(result: object) -> CalibrateResult:
    """`result` as a CalibrateResult that tells something."""
    if not isinstance(result, CalibrateResult):
        raise ResultError(
            f"calibrate returned {_kind(result)}; wanted is hansa.client.CalibrateResult(num_examples, calibration)"
        )
    calibration = _checked_calibration(result.calibration)
    if calibration is None:
        raise ResultError(
            "calibrate returned no scores: there was no example, or an output that is not finite; or the loss of a "
            "torch module is no CrossEntropyLoss, which declares its outputs to be logits."
        )
    return CalibrateResult(_checked_count(result.num_examples), calibration, _checked_metrics(result.metrics))


def _checked_calibration(report: object) -> CalibrationReport | None:
    if report is None or isinstance(report, CalibrationReport):
        return report
    raise ResultError(
        f"calibration is {_kind(report)}; wanted is what Confidence(config).report() of hansa.client.calibration gives"
    )


def _checked_array(array: object, spec: ArraySpec) -> Array:
    if not isinstance(array, np.ndarray | np.generic):
        hint = "; use tensor.detach().cpu().numpy()" if hasattr(array, "detach") else ""
        raise ResultError(f"params[{spec.name!r}] is {_kind(array)}; wanted is a numpy array{hint}")
    if array.shape != spec.shape:
        raise ResultError(f"params[{spec.name!r}] has shape {array.shape}; the model has {spec.shape}")
    if array.dtype.name != spec.dtype:
        raise ResultError(
            f"params[{spec.name!r}] has dtype {array.dtype}; the model has {spec.dtype}. Convert it with "
            f".astype({spec.dtype!r}), and look where it changed: a Python or float64 number in the update does it."
        )
    native = np.asarray(array, dtype=spec.dtype, order="C")
    if (index := first_not_addable(native)) is not None:
        place = [int(axis) for axis in np.unravel_index(index, native.shape)]
        raise ResultError(
            f"params[{spec.name!r}] holds {native.reshape(-1)[index]} at {place}: the training diverged. "
            "Try a lower client_lr, and look at the data for missing values."
        )
    return native


def _checked_count(count: object) -> int:
    if isinstance(count, bool | np.bool) or not isinstance(count, SupportsIndex):
        raise ResultError(f"num_examples is {_kind(count)}; wanted is a whole number")
    try:
        number = operator.index(count)
    except TypeError as error:
        raise ResultError(f"num_examples is {count}; wanted is a whole number") from error
    if number < 1:
        raise ResultError(f"num_examples is {number}; wanted is at least 1: without data there is nothing to report")
    if number > MAX_EXAMPLES:
        raise ResultError(
            f"num_examples is a number of {number.bit_length()} bits; wanted is at most 2**53. Was something else "
            "counted?"
        )
    return number


def _checked_metrics(metrics: object) -> dict[str, float]:
    if not isinstance(metrics, Mapping):
        raise ResultError(f"metrics is {_kind(metrics)}; wanted is a dict from name to number")
    if len(metrics) > MAX_METRICS:
        raise ResultError(
            f"{len(metrics)} metrics came with the result; at most {MAX_METRICS} are kept. Report those that matter, "
            "or a mean of many."
        )
    return {_checked_name(name): _checked_value(name, value) for name, value in metrics.items()}


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or not 1 <= len(name) <= MAX_METRIC_NAME:
        raise ResultError(f"a metric is named {name!r:.100}; wanted is a text of 1 to {MAX_METRIC_NAME} characters")
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise ResultError(f"a metric is named {name!a}, which is no text: {error.reason}") from error
    return name


def _checked_value(name: object, value: object) -> float:
    if isinstance(value, str) or not isinstance(value, SupportsFloat):
        raise ResultError(f"metrics[{name!r}] is {_kind(value)}; wanted is a number")
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise ResultError(f"metrics[{name!r}] is {_kind(value)}, which is not one number: {error}") from error
    if not math.isfinite(number):
        raise ResultError(f"metrics[{name!r}] is {number}; wanted is a finite number. Leave it out if there is none.")
    return number


def _kind(value: object) -> str:
    return "None" if value is None else f"of type {type(value).__name__}"
