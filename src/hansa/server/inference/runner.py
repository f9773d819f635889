"""Where programs are run: not in this process. What runs them is given by `use`; until then questions are refused.

Whatever it is, it gets open files, no paths, and owes the outputs of all passes, or one of the errors of `errors`.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Final, Protocol

import numpy as np

from hansa.core.params import Array
from hansa.server.inference.decoding import Image
from hansa.server.inference.errors import OverloadedError, UnavailableError
from hansa.server.inference.opening import files_of, opened
from hansa.server.inference.programs import Asked
from hansa.server.lifecycle.bridge import call, work
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
    descriptors: Mapping[str, int]
    """The model's files, open for reading, by digest. They are closed when the answer is there."""


class Programs(Protocol):
    """What runs programs."""

    async def outputs(self, job: Job) -> Array:
        """The outputs of all passes, (N, B, …), each in eval mode but for the dropout of mc_dropout.

        Raises LimitError, ProgramError, UnsupportedError, OverloadedError, UnavailableError, and ValidationError for
        images that do not fit the model.
        """

    async def summary(self, job: Job) -> Executed:
        """Shapes and operations of the modules, from one pass; without those that cannot be told. Raises likewise."""


_programs: Programs | None = None
_summaries: set["asyncio.Task[None]"] = set()


def use(programs: Programs | None) -> None:
    """From now on these run what is asked; None: nothing does."""
    global _programs  # noqa: PLW0603  # one for the process, as it has one machine
    _programs = programs


async def outputs(model: Asked, inputs: Array | Sequence[Image], seed: int) -> Array:
    """The outputs of all passes, (N, B, …). Raises what `Programs.outputs` does, and BlobDamagedError.

    With the first answer of a model its statistics are told as well: that is done afterwards, and nobody waits for it.
    """
    programs = _available()
    stack, descriptors = await work(opened, files_of(model))
    with stack:
        found = await programs.outputs(Job(model, inputs, seed, descriptors))
    if model.unsummarised:
        _begin_summary(programs, model)
    return found


async def idle() -> None:
    """Wait until no statistics are being told any more."""
    await asyncio.gather(*_summaries)


def _available() -> Programs:
    if _programs is None:
        raise UnavailableError(
            "This server has no sandbox to run programs in, and runs them in nothing else. Download the model, and run "
            "it yourself."
        )
    return _programs


def _begin_summary(programs: Programs, model: Asked) -> None:
    task = asyncio.create_task(_summarise(programs, model))
    _summaries.add(task)
    task.add_done_callback(_summaries.discard)


async def _summarise(programs: Programs, model: Asked) -> None:
    shape = [length or 1 for length in model.input_shape or ()]
    if prod(shape) > MAX_SUMMARY_ELEMENTS:
        return
    try:
        stack, descriptors = await work(opened, files_of(model))
        with stack:
            executed = await programs.summary(Job(model, np.zeros(shape, np.float32), 0, descriptors))
    except (UnavailableError, OverloadedError):
        return  # another time
    except ServiceError as error:
        log.info("The model %s tells no shapes: %s", model.model_id, error.detail)
        executed = Executed({})
    await call(record_run, model_id=model.model_id, executed=executed)
