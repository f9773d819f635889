"""What a model answers, as arrays, with what tells how far to trust it; and what may be sent to it as an input."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from hansa.client.errors import UsageError
from hansa.core.params import Array
from hansa.formats import safetensors
from hansa.protocol.inference import InferenceAnswer, Reckoned
from hansa.uncertainty.decomposition import entropy as entropy_of

FIELD = "model_input"
File = Path | str | bytes
"""The path of an image, or of another file that the server reads; or its content."""
Inputs = Array | Sequence[object] | File
"""An array, or nested numbers (a batch in the first dimension); a file; several files, which are a batch."""

Part = tuple[str, tuple[str, IO[bytes]]]


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """A model's answer to a batch of B inputs. Arrays are float64 unless they are class numbers.

    Entropies are in nats, of which a guess among C classes has log C. None stands for what was not told: entropies of
    a regression, a variance of one pass, probabilities of outputs that nobody declared to be of classes.
    """

    mean: Array
    """(B, …): over all passes; with method none the numbers of the likeliest classes, or a regression's values."""
    probabilities: Array | None
    """(B, C, …): of classes, mean over all passes."""
    entropy: Array | None
    """Of the mean probabilities: all that is uncertain."""
    expected_entropy: Array | None
    """Mean entropy of the single passes: the part that lies in the data (aleatoric)."""
    mutual_information: Array | None
    """The rest: how much the passes disagree, for lack of knowledge (epistemic)."""
    variance: Array | None
    """Over the passes, unbiased."""
    std: Array | None
    """Its square root."""
    reckoned: Reckoned
    """How the answer came about: version, method, passes, seed, notes."""


def prediction(answer: InferenceAnswer) -> Prediction:
    """The answer's lists as arrays; null in them, which stands for an infinity, as NaN."""
    told = {name: np.asarray(values, np.float64) for name, values in answer.uncertainty.items()}
    reckoned = answer.hansa
    probabilities = None if reckoned.probabilities is None else np.asarray(reckoned.probabilities, np.float64)
    entropy = told.get("predictive_entropy")
    if entropy is None and probabilities is not None:
        entropy = entropy_of(probabilities, axis=1)
    mean = np.asarray(answer.inference)
    return Prediction(
        mean=mean.astype(np.float64) if mean.dtype == object else mean,
        probabilities=probabilities,
        entropy=entropy,
        expected_entropy=told.get("expected_entropy"),
        mutual_information=told.get("mutual_info"),
        variance=told.get("variance"),
        std=told.get("std"),
        reckoned=reckoned,
    )


def parts_of(inputs: Inputs) -> list[Part]:
    """The inputs as the files of a form: arrays as safetensors. Raises UsageError for what cannot be sent."""
    if isinstance(inputs, Path | str | bytes):
        return [_file(inputs)]
    if not isinstance(inputs, np.ndarray) and len(inputs) and all(isinstance(x, Path | str | bytes) for x in inputs):
        return [_file(each) for each in inputs if isinstance(each, Path | str | bytes)]
    content = io.BytesIO()
    try:
        safetensors.write(content, {FIELD: _array(inputs)})
    except ValueError as error:
        raise UsageError(f"the inputs cannot be sent: {error}") from error
    content.seek(0)
    return [(FIELD, ("input.safetensors", content))]


def _file(file: File) -> Part:
    if isinstance(file, bytes):
        return FIELD, ("input", io.BytesIO(file))
    try:
        return FIELD, (Path(file).name, io.BytesIO(Path(file).read_bytes()))
    except OSError as error:
        raise UsageError(f"the input {file} cannot be read: {error.strerror}") from error


def _array(inputs: Array | Sequence[object]) -> Array:
    """An array as it is; nested numbers as float32, or int64 if all are whole and written so."""
    try:
        array = np.asarray(inputs)
    except ValueError as error:
        raise UsageError(f"the inputs are no array, nor nested evenly: {error}") from error
    if array.dtype.kind not in "biuf":
        raise UsageError(f"the inputs are of type {array.dtype}; wanted are numbers, or paths and bytes of files")
    return array.astype(np.float32) if isinstance(inputs, list | tuple) and array.dtype == np.float64 else array
