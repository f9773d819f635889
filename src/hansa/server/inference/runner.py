"""Where programs are run: not in this process. What runs them is given by `use`; until then questions are refused.

Whatever it is, it hands programs open files, no paths, and owes the outputs of all passes, or one of the errors of
`errors`.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Final, Protocol
from uuid import UUID

import numpy as np

from hansa.core.params import Array
from hansa.server.inference.decoding import Image
from hansa.server.inference.errors import OverloadedError, UnavailableError
from hansa.server.inference.programs import Asked
from hansa.server.lifecycle.bridge import call
from hansa.server.lifecycle.errors import ServiceError
from hansa.server.registry.services import record_run
from hansa.server.registry.statistics import Executed

log = logging.getLogger(__name__)

MAX_SUMMARY_ELEMENTS: Final = 2**24
"""Of the input of zeros with which a model is run for its statistics."""


@dataclass(frozen=True, slots=True)
class Job:
    """One question, as it goes to the programs."""

    model: Asked
    inputs: Array | Sequence[Image]
    seed: int
    who: str = ""
    """Who asks, or nobody: callers take turns."""


class Programs(Protocol):
    """What runs programs."""

    async def outputs(self, job: Job) -> Array:
        """The outputs of all passes, (N, B, …), each in eval mode but for the dropout of mc_dropout.

        Raises LimitError, ProgramError, UnsupportedError, OverloadedError, UnavailableError, BlobDamagedError, and
        ValidationError for images that cannot be read.
        """

    async def summary(self, job: Job) -> Executed:
        """Shapes and operations of the modules, from one pass; without those that cannot be told. Raises likewise."""


_programs: Programs | None = None
_summaries: dict[UUID, "asyncio.Task[None]"] = {}
"""Under way, one for each model."""


def use(programs: Programs | None) -> None:
    """From now on these run what is asked; None: nothing does."""
    global _programs  # noqa: PLW0603  # one for the process, as it has one machine
    _programs = programs


async def outputs(model: Asked, inputs: Array | Sequence[Image], seed: int, who: str = "") -> Array:
    """The outputs of all passes, (N, B, …). Raises what `Programs.outputs` does, and BlobDamagedError.

    With the first answer of a model its statistics are told as well: that is done afterwards, and nobody waits for it.
    """
    programs = _available()
    found = await programs.outputs(Job(model, inputs, seed, who))
    if model.unsummarised and model.model_id not in _summaries:
        _begin_summary(programs, model)
    return found


async def idle() -> None:
    """Wait until no statistics are being told any more."""
    await asyncio.gather(*_summaries.values())


def _available() -> Programs:
    if _programs is None:
        raise UnavailableError(
            "This server has no sandbox to run programs in, and runs them in nothing else. Download the model, and run "
            "it yourself."
        )
    return _programs


def _begin_summary(programs: Programs, model: Asked) -> None:
    task = asyncio.create_task(_summarise(programs, model))
    _summaries[model.model_id] = task
    task.add_done_callback(lambda _: _summaries.pop(model.model_id))


async def _summarise(programs: Programs, model: Asked) -> None:
    shape = [length or 1 for length in model.input_shape or ()]
    if prod(shape) > MAX_SUMMARY_ELEMENTS:
        return
    try:
        executed = await programs.summary(Job(model, np.zeros(shape, np.float32), 0))
    except (UnavailableError, OverloadedError):
        return  # another time
    except ServiceError as error:
        log.info("The model %s tells no shapes: %s", model.model_id, error.detail)
        executed = Executed({})
    await call(record_run, model_id=model.model_id, executed=executed)
