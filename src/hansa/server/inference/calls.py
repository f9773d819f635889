"""Questions in the sandbox's words, and its outcomes in the server's."""

from typing import Final

import numpy as np
from msgspec.structs import replace
from rest_framework.exceptions import APIException, ValidationError

from hansa.core.params import Array
from hansa.sandbox import messages
from hansa.sandbox.messages import (
    BadInput,
    Broken,
    EncodedImage,
    Failed,
    Outcome,
    Passes,
    Refused,
    Summary,
    Tensor,
    Unsupported,
)
from hansa.server.inference.errors import FIELD, FaultError, LimitError, ProgramError, UnsupportedError
from hansa.server.inference.programs import Asked
from hansa.server.inference.runner import Job
from hansa.server.lifecycle.errors import ServiceError
from hansa.server.registry.statistics import Executed, ExecutedLayer

_PASSES: Final[dict[str, Passes]] = {"mc_dropout": "dropout", "swag": "swag"}


def call_of(job: Job) -> messages.Call:
    """What a cell is told. Files stand in it by their digests."""
    model = job.model
    inputs = job.inputs
    return messages.Call(
        programs=tuple(
            messages.Program(each.archive.digest, each.params.digest if each.params is not None else None)
            for each in model.programs
        ),
        inputs=(Tensor.of(inputs),)
        if isinstance(inputs, np.ndarray)
        else tuple(EncodedImage(each.content) for each in inputs),
        preprocessing=model.preprocessing.digest if model.preprocessing is not None else None,
        shape=None if isinstance(inputs, np.ndarray) or model.input_shape is None else tuple(model.input_shape),
        moments=_moments(model),
        passes=_PASSES.get(model.way.method, "one"),
        samples=model.way.samples,
        seed=job.seed,
    )


def summary_call_of(job: Job) -> messages.Call:
    """What a cell is told that is to tell shapes: the model's own input goes in, which nothing prepares."""
    return replace(call_of(job), preprocessing=None, moments=None, passes="summary", samples=1)


def outputs_of(outcome: Outcome) -> Array:
    """The outputs. Raises LimitError, ProgramError, UnsupportedError."""
    if isinstance(outcome, Tensor):
        return outcome.array()
    raise _error_of(outcome)


def executed_of(outcome: Outcome) -> Executed:
    """What one pass told of the layers. Raises LimitError, ProgramError, UnsupportedError."""
    if isinstance(outcome, Summary):
        return Executed(
            {
                path: ExecutedLayer(layer.input_size, layer.output_size, layer.macs)
                for path, layer in outcome.layers.items()
            }
        )
    raise _error_of(outcome)


def _error_of(outcome: Outcome) -> ServiceError | APIException:
    match outcome:
        case Refused(limit, detail):
            return LimitError(limit, f"The program was stopped at its limit of {limit}: {detail}")
        case Failed(detail):
            return ProgramError(f"The program failed: {detail}")
        case Unsupported(what):
            return UnsupportedError(
                f"The program is not run here: {what}. Save it as TorchScript (torch.jit.save), or build it from "
                "torch.nn's own classes."
            )
        case BadInput(detail):
            return ValidationError({FIELD: [detail]})
        case Broken(detail):
            return FaultError(f"{detail}. The question was not answered, and may be asked again in a moment.")
        case Tensor() | Summary():
            return ProgramError("The program answered something else than it was asked.")


def _moments(model: Asked) -> messages.Moments | None:
    return messages.Moments(model.moments.file.digest, model.moments.order) if model.moments is not None else None
