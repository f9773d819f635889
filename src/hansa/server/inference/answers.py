"""The outputs of all passes as the contract's answer: pure arithmetic, then JSON or safetensors."""

import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hansa.core.params import Array
from hansa.formats import safetensors
from hansa.protocol.errors import ErrorCode
from hansa.server.inference import levels
from hansa.server.inference.errors import ProgramError
from hansa.server.inference.levels import Held
from hansa.server.inference.methods import Way
from hansa.server.lifecycle.errors import InvalidError
from hansa.uncertainty.decomposition import contract_uncertainty, spread
from hansa.uncertainty.probabilities import Floats, Outputs, as_probabilities
from hansa.uncertainty.temperature import TEMPERATURES

_CLASSES = 2
"""The axis of a stack: passes, batch, classes, and whatever follows."""

SINGLE = "One pass has no variance: nothing is said of how far others would differ."
BATCH_NORM = (
    "SWAG: the statistics of batch norm are the version's own; they were not computed anew for each draw, for which "
    "training data would be needed (Maddox et al. 2019, section 3.2)."
)
GUESSED = (
    "Entropies are given because all outputs lie within [0, 1]. Whether they are probabilities was not declared: "
    '"uncertainty": {"outputs": "probabilities"} or "logits" does.'
)
TEMPERED_PASSES = (
    "The version's temperature was found for one pass of it; here it divides the logits of each pass before they are "
    "averaged, and that mean was not calibrated."
)
AT_EDGE = (
    "No temperature from {1:g} to {2:g} suits the clients' examples better than {0:g}, and one beyond may: take the "
    "probabilities for rough, and see whether the outputs are logits, and the labels right."
)
NO_SPREAD = "All passes are the same: has the model dropout at all?"


@dataclass(frozen=True, slots=True)
class Told:
    """What the outputs tell."""

    inference: Array
    uncertainty: Mapping[str, Array]
    probabilities: Array | None
    """Mean over the passes, (B, C, …)."""
    notes: list[str]
    held: Held | None = None
    """With a level: what holds the truth that often."""

    @property
    def not_finite(self) -> list[str]:
        """The arrays that JSON cannot hold as they are. Undefined outputs were refused: these are infinities."""
        return [] if np.isfinite(self.inference).all() else ["inference"]


def told(stack: Array, way: Way) -> Told:
    """What N outputs, (N, B, …), tell of their inputs.

    Raises InvalidError for outputs that are undefined, or not what they were declared to be.
    """
    if stack.ndim < 2 or stack.dtype.kind not in "fiub":
        raise ProgramError(
            f"The program's output has shape {list(stack.shape[1:])} and dtype {stack.dtype}; wanted are real numbers "
            "with a batch dimension."
        )
    if np.isnan(stack).any():
        raise InvalidError(
            "The model's output has NaN in it. Look at its input, or at an earlier version.", ErrorCode.NOT_FINITE
        )
    stack, probabilities = _declared(stack.astype(np.float64), way)
    if way.method == "none":
        kept = None if way.level is None else levels.held(stack.mean(axis=0), way.level)
        return Told(_of_no_method(stack, way), {}, probabilities, _of_temperature(way), kept)
    if not np.isfinite(stack).all():
        raise InvalidError(
            "The model's output has infinities in it, and so no variance. Ask with method none, or another version.",
            ErrorCode.NOT_FINITE,
        )
    return Told(stack.mean(axis=0), _uncertainty(stack, way), probabilities, _notes(stack, way))


def as_json(array: Array) -> list | float:  # type: ignore[type-arg]  # nested to the depth that the array has
    """Nested lists, in which null stands for what JSON has no number for."""
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        finite = np.isfinite(array)
        array = array.astype(object)
        np.putmask(array, ~finite, None)  # type: ignore[arg-type]  # numpy's stub knows no arrays of objects
    nested: list | float = array.tolist()  # type: ignore[type-arg]  # as above
    return nested


def as_safetensors(told: Told) -> bytes:
    """The arrays by name: `inference`, `uncertainty.<name>`, `conformal.<name>`, `probabilities` where declared."""
    arrays = {"inference": told.inference} | {f"uncertainty.{name}": each for name, each in told.uncertainty.items()}
    if told.probabilities is not None:
        arrays["probabilities"] = told.probabilities
    if (held := told.held) is not None:
        members = None if held.members is None else held.members.astype(np.uint8)  # the files here hold no bools
        kept = {"members": members, "low": held.low, "high": held.high}
        arrays |= {f"conformal.{name}": each for name, each in kept.items() if each is not None}
    file = io.BytesIO()
    safetensors.write(file, arrays)
    return file.getvalue()


def _declared(stack: Floats, way: Way) -> tuple[Floats, Floats | None]:
    """Outputs that were declared to be of classes, as probabilities, and their mean; others as they are."""
    if way.outputs not in ("probabilities", "logits"):
        return stack, None
    try:
        if stack.ndim <= _CLASSES:
            raise ValueError(f"the outputs have shape {stack.shape[1:]}, and no dimension of classes")
        if way.temperature is not None:
            stack = stack / way.temperature
        with np.errstate(invalid="ignore"):  # infinity less infinity is looked at below
            made = as_probabilities(stack, Outputs(way.outputs), axis=_CLASSES)
    except ValueError as error:
        raise InvalidError(f"The outputs are not {way.outputs}, as was declared: {error}.") from error
    if not np.isfinite(made).all():
        raise InvalidError(
            "The model has a logit of infinity, or minus infinity for all classes; wanted is a finite one, and none of "
            "infinity. Look at its input, or ask without declaring outputs.",
            ErrorCode.NOT_FINITE,
        )
    mean: Floats = made.mean(axis=0)
    return made, mean


def _of_no_method(stack: Floats, way: Way) -> Array:
    """Class numbers; of outputs that are none of classes, the values: one output has no likeliest class."""
    mean: Floats = stack.mean(axis=0)
    if way.outputs == "values" or mean.ndim == 1 or mean.shape[1] <= 1:
        return mean
    return np.asarray(mean.argmax(axis=1), np.int64)


def _uncertainty(stack: Floats, way: Way) -> dict[str, Array]:
    whole = stack if stack.ndim > _CLASSES else stack[..., np.newaxis]
    if way.outputs == "values" or stack.ndim <= _CLASSES:
        found = spread(whole)
        known = {"variance": found.variance, "std": found.std}
        return {name: each.reshape(stack.shape[1:]) for name, each in known.items() if each is not None}
    return dict(contract_uncertainty(whole))


def _of_temperature(way: Way) -> list[str]:
    return [AT_EDGE.format(way.temperature, TEMPERATURES[0], TEMPERATURES[-1])] if way.at_edge else []


def _notes(stack: Floats, way: Way) -> list[str]:
    notes = [BATCH_NORM] if way.method == "swag" else []
    if way.temperature is not None:
        notes += [TEMPERED_PASSES, *_of_temperature(way)]
    if len(stack) == 1:
        notes.append(SINGLE)
    elif way.method == "mc_dropout" and (stack == stack[0]).all():
        notes.append(NO_SPREAD)
    if way.outputs is None and stack.ndim > _CLASSES and ((stack >= 0) & (stack <= 1)).all():
        notes.append(GUESSED)
    return notes
