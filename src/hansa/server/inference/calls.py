"""Questions in the sandbox's words, and its outcomes in the server's."""

from typing import Final

import numpy as np

from hansa.core.params import Array
from hansa.sandbox import messages
from hansa.sandbox.messages import EncodedImage, Failed, Outcome, Passes, Refused, Tensor, Unsupported
from hansa.server.inference.errors import LimitError, ProgramError, UnsupportedError
from hansa.server.inference.programs import Asked
from hansa.server.inference.runner import Job

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
        moments=_moments(model),
        passes=_PASSES.get(model.way.method, "one"),
        samples=model.way.samples,
        seed=job.seed,
    )


def outputs_of(outcome: Outcome) -> Array:
    """The outputs. Raises LimitError, ProgramError, UnsupportedError."""
    match outcome:
        case Tensor():
            return outcome.array()
        case Refused(limit, detail):
            raise LimitError(limit, f"The program was stopped at its limit of {limit}: {detail}")
        case Failed(detail):
            raise ProgramError(f"The program failed: {detail}")
        case Unsupported(what):
            raise UnsupportedError(
                f"The program is not run here: {what}. Save it as TorchScript (torch.jit.save), or build it from "
                "torch.nn's own classes."
            )


def _moments(model: Asked) -> messages.Moments | None:
    return messages.Moments(model.moments.file.digest, model.moments.order) if model.moments is not None else None
