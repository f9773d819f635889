"""One task done by the trainer: model in from disk, result checked and out to disk. No network."""

import hashlib
from io import BufferedRandom
from pathlib import Path
from time import perf_counter

from hansa.client.errors import BadAnswer, ResultError
from hansa.client.journal import Outcome
from hansa.client.results import checked_evaluation, checked_moments, checked_scores, checked_training
from hansa.client.trainer import CalibrateResult, Config, EvaluateResult, Trainer
from hansa.core.moments import FIRST, SECOND, flatten, moments_spec
from hansa.core.params import Kind, Params, ParamSpec
from hansa.formats import encodings
from hansa.formats.chunks import FileSource
from hansa.formats.errors import NotFiniteError
from hansa.formats.layout import shown
from hansa.formats.safetensors import read, read_layout, write
from hansa.protocol.encodings import Encoding
from hansa.protocol.tasks import Task, TaskKind

REASON_LENGTH = 500


class TrainerFailed(Exception):  # noqa: N818 - it says what happened
    """The user's code raised; the text is one line, fit for the wire, the traceback is that of `__cause__`."""


class Workbench:
    """Runs the trainer. `inside` is True while user code runs: only there may a signal break in with an exception."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self.inside = False

    def prepare(self, task: Task) -> None:
        """Raise ResultError, before anything is fetched, for a task that the trainer has nothing for."""
        if task.kind is TaskKind.SWAG and not callable(getattr(self._trainer, "moments", None)):
            raise ResultError(
                f"{type(self._trainer).__name__} gathers no SWAG moments: it has no method 'moments'. Give it one (see "
                "hansa.client.MomentsTrainer), or leave it to the other clients."
            )
        if task.kind is TaskKind.CALIBRATE and not callable(getattr(self._trainer, "calibrate", None)):
            raise ResultError(
                f"{type(self._trainer).__name__} tells no scores: it has no method 'calibrate'. Give it one (see "
                "hansa.client.CalibratingTrainer), or leave it to the other clients."
            )

    def do(self, task: Task, config: Config, model: Path, update: Path) -> Outcome:
        """Train from the file `model` and write the file `update`, or gather moments around it, or measure it.

        Raises TrainerFailed for what user code raised, ResultError for what it returned.
        """
        match task.kind:
            case TaskKind.TRAIN:
                return self._train(model, update, config, task)
            case TaskKind.SWAG:
                return self._gather(model, update, config, task.order)
            case TaskKind.EVALUATE:
                return self._evaluate(model, config)
            case TaskKind.CALIBRATE:
                return self._calibrate(model, config)

    def _train(self, model: Path, update: Path, config: Config, task: Task) -> Outcome:
        began = perf_counter()
        result = self._call("train", model, config)
        seconds = perf_counter() - began
        spec = _spec(model)
        checked = checked_training(result, spec)
        if task.encoding is None:
            digest, size = _written(update, checked.params, spec)
        else:
            digest, size = _encoded(update, checked.params, model, task, task.encoding)
        return Outcome(
            num_examples=checked.num_examples,
            metrics=dict(checked.metrics),
            seconds=seconds,
            digest=digest,
            size=size,
        )

    def _gather(self, model: Path, update: Path, config: Config, order: list[str]) -> Outcome:
        began = perf_counter()
        result = self._call("moments", model, config)
        seconds = perf_counter() - began
        checked = checked_moments(result, _spec(model))
        if unknown := sorted(set(order) - checked.first.keys()):
            raise BadAnswer(f"the task asks for the moments of {shown(unknown)}, which are no params of its model")
        vectors = {FIRST: flatten(checked.first, order), SECOND: flatten(checked.second, order)}
        digest, size = _written(update, vectors, moments_spec(len(vectors[FIRST])))
        return Outcome(num_examples=checked.num_examples, metrics={}, seconds=seconds, digest=digest, size=size)

    def _evaluate(self, model: Path, config: Config) -> Outcome:
        began = perf_counter()
        checked = checked_evaluation(self._call("evaluate", model, config))
        return _told(checked, perf_counter() - began)

    def _calibrate(self, model: Path, config: Config) -> Outcome:
        began = perf_counter()
        checked = checked_scores(self._call("calibrate", model, config))
        return _told(checked, perf_counter() - began)

    def _call(self, method: str, model: Path, config: Config) -> object:
        params = read(model)
        try:
            self.inside = True
            return getattr(self._trainer, method)(params, config)
        except Exception as error:
            raise TrainerFailed(one_line(error)) from error
        finally:
            self.inside = False


def _told(result: EvaluateResult | CalibrateResult, seconds: float) -> Outcome:
    return Outcome(
        num_examples=result.num_examples,
        metrics=dict(result.metrics),
        seconds=seconds,
        calibration=result.calibration,
    )


def one_line(error: BaseException) -> str:
    """An exception as its type and text, short enough for a reason on the wire."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= REASON_LENGTH else f"{text[: REASON_LENGTH - 1]}…"


def _spec(model: Path) -> ParamSpec:
    with model.open("rb") as file:
        return read_layout(file, model.stat().st_size).spec()


def _written(path: Path, params: Params, spec: ParamSpec) -> tuple[str, int]:
    """Write the update and return its digest and size."""
    buffers = frozenset(array.name for array in spec if array.kind is Kind.BUFFER)
    with path.open("wb+") as file:
        layout = write(file, params, buffers)
        return _digest(file), layout.size


def _encoded(path: Path, params: Params, model: Path, task: Task, encoding: Encoding) -> tuple[str, int]:
    """The same in the form that the task offers: piece after piece, so that no second model is in memory."""
    with model.open("rb") as file:
        layout = read_layout(file, model.stat().st_size)
    try:
        with FileSource(model) as source, path.open("wb+") as file:
            origin = encodings.Origin(task.digest, source, layout)
            written = encodings.write(file, params, layout.spec(), encoding, origin)
            return _digest(file), written.size
    except NotFiniteError as error:
        raise ResultError(f"the update cannot be sent as the plan says: {error}") from error


def _digest(file: BufferedRandom) -> str:
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()
