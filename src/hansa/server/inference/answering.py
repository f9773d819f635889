"""From a question to its answer, whoever asks: the API's view, or a page."""

from dataclasses import dataclass
from time import perf_counter

import numpy as np

from hansa.core.params import Array
from hansa.protocol import inference as wire
from hansa.server.accounts.models import User
from hansa.server.inference import answers, questions, runner
from hansa.server.inference.answers import Told
from hansa.server.inference.decoding import Image
from hansa.server.inference.inputs import gathered
from hansa.server.inference.levels import Held
from hansa.server.inference.programs import Asked, asked
from hansa.server.inference.questions import Question
from hansa.server.lifecycle.bridge import compute, read

SMALL = 2**14
"""Bytes that are decoded on the event loop: that takes less than a hop to a thread."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A question, what was asked, and what the outputs told."""

    question: Question
    model: Asked
    told: Told
    seconds: float
    """From the question to the outputs."""


async def answered(question: Question, user: User) -> Answered:
    """Ask a model. Raises the errors of `errors`, ValidationError, NotFoundError, BlobDamagedError."""
    model = await read(asked, user, question.model_id, question.said)
    began = perf_counter()
    told = await _told(question, model, who=str(user.pk))
    return Answered(question, model, told, perf_counter() - began)


async def _told(question: Question, model: Asked, *, who: str) -> Told:
    if question.size <= SMALL:
        inputs = _inputs(question, model)
    else:
        inputs = await compute(_inputs, question, model)
    stack = await runner.outputs(model, inputs, question.said.seed, who)
    if stack.nbytes <= SMALL:
        return answers.told(stack, model.way)
    return await compute(answers.told, stack, model.way)


def _inputs(question: Question, model: Asked) -> Array | list[Image]:
    return gathered(questions.inputs_of(question), model)


def record(of: Answered) -> wire.InferenceAnswer:
    """The answer as the API words it, its arrays as nested lists."""
    way, told = of.model.way, of.told
    is_drawn = way.method in ("mc_dropout", "swag")
    return wire.InferenceAnswer(
        inference=answers.as_json(told.inference),
        uncertainty={name: answers.as_json(array) for name, array in told.uncertainty.items()},
        hansa=wire.Reckoned(
            model=str(of.question.model_id),
            version=of.model.version,
            method=way.method,
            passes=way.samples if is_drawn else len(of.model.programs),
            seed=of.question.said.seed if is_drawn else None,
            outputs=way.outputs,
            seconds=of.seconds,
            probabilities=None if told.probabilities is None else told.probabilities.tolist(),
            temperature=way.temperature,
            conformal=None if told.held is None else _conformal(told.held),
            not_finite=told.not_finite,
            notes=told.notes,
        ),
    )


def _conformal(held: Held) -> wire.Conformal:
    level, limit = held.level, held.level.limit
    sets = None if held.members is None else [np.flatnonzero(row).tolist() for row in held.members]
    return wire.Conformal(
        level=level.asked,
        rule=level.rule.value,
        examples=limit.examples,
        clients=limit.clients,
        threshold=limit.value,
        excess=limit.excess,
        unbounded=limit.unbounded or "",
        sets=sets,
        empty=[place for place, classes in enumerate(sets or ()) if not classes],
        low=None if held.low is None else answers.as_json(held.low),
        high=None if held.high is None else answers.as_json(held.high),
        assumptions=held.assumptions,
    )
